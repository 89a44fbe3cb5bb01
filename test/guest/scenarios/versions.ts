/**
 * The protocol's versions, newest first: the guest loads and unloads its bus driver once per version, and the host end
 * is replaced by an older one after each unload. No device is offered.
 */
import { HostBus } from '../../../src/bus/host/index.ts';
import type { HostEnvironment } from '../../../src/channel/environment.ts';
import { formatVersion, VmbusVersion } from '../../../src/wire/index.ts';
import type { Scenario, ScenarioContext } from './scenario.ts';

/** What Linux asks for, one after another; it knows nothing between 3.0 and 4.0, and gives up below 3.0. */
export const LINUX_VERSIONS = [
  VmbusVersion.IRON,
  VmbusVersion.V5_2,
  VmbusVersion.V5_1,
  VmbusVersion.V5_0,
  VmbusVersion.WIN10_RS3_0,
  VmbusVersion.WIN10,
  VmbusVersion.WIN8_1,
] as const;

export const versions: Scenario = {
  name: 'versions',
  job: 'versions',
  prepare: (context) => ({
    attach: (environment) => {
      offerVersion(environment, context, 0);
      return undefined;
    },
  }),
};

function offerVersion(environment: HostEnvironment, context: ScenarioContext, index: number): void {
  const newestVersion = LINUX_VERSIONS[index];
  if (newestVersion === undefined) return;
  const bus = new HostBus(
    environment.control,
    {
      connected: (version) =>
        context.note(`cap ${formatVersion(newestVersion)}: connected with ${formatVersion(version)}`),
      disconnected: () => {
        context.note(`cap ${formatVersion(newestVersion)}: unloaded`);
        offerVersion(environment, context, index + 1);
      },
      dropped: (reason) => context.note(`dropped: ${reason}`),
    },
    { newestVersion, vpCount: 1 },
  );
  environment.onMessage((message, connectionId) => bus.receive(message, connectionId));
}
