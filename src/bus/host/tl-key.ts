/** Under which name an hvsock connect waits for its answer. */
import { canonicalGuid } from '../../wire/guid.ts';

export function tlKey(endpointId: string, serviceId: string): string {
  return `${canonicalGuid(endpointId)}/${canonicalGuid(serviceId)}`;
}

export function splitTlKey(key: string): { endpointId: string; serviceId: string } {
  const [endpointId = '', serviceId = ''] = key.split('/');
  return { endpointId, serviceId };
}
