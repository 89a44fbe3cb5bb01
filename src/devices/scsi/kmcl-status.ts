import { UsageError } from '../../errors.ts';
import { type NtStatus, ntStatusName, STATUS_SUCCESS } from '../../wire/ntstatus.ts';

/**
 * For the KMCL calls that set a channel up: they fail only if we are used wrongly.
 * @throws UsageError `ERR_STATE` unless `status` is `STATUS_SUCCESS`
 */
export function requireSuccess(status: NtStatus, call: string): void {
  if (status !== STATUS_SUCCESS) throw new UsageError('ERR_STATE', `${call} gave ${ntStatusName(status)}`, { status });
}
