/**
 * The path a host listens on: who may reach it, whether somebody listens there already, and that nothing stays behind.
 *
 * The directory is the access control: it must belong to us and be closed to everybody else (mode 0700), so that only
 * this user's processes (and the superuser's) reach the socket. It is made if it is missing, and then removed again.
 */
import { chmodSync, lstatSync, mkdirSync, rmdirSync, type Stats, unlinkSync } from 'node:fs';
import { createConnection } from 'node:net';
import { dirname, isAbsolute } from 'node:path';
import { SystemError, UsageError } from '../../errors.ts';

/** `sun_path` of unix(7), without its final zero. */
const MAX_PATH_BYTES = 107;

/**
 * The path in `shm:/path.sock`; a bare path is taken as it is.
 * @throws UsageError `ERR_ARGUMENT` for another scheme, a relative path, or one too long for a socket
 */
export function parseShmUrl(url: string): string {
  const path = url.startsWith('shm:') ? url.slice('shm:'.length) : url;
  if (!isAbsolute(path)) {
    throw new UsageError(
      'ERR_ARGUMENT',
      `${url} does not name a socket: give an absolute path, as in shm:/run/vmbus/a.sock`,
    );
  }
  const pathBytes = Buffer.byteLength(path);
  if (pathBytes > MAX_PATH_BYTES) {
    throw new UsageError('ERR_ARGUMENT', `a socket path has at most ${MAX_PATH_BYTES} bytes, ${path} has ${pathBytes}`);
  }
  return path;
}

/**
 * Makes the directory private to us, or checks that it is.
 * @returns true if it was made here
 * @throws SystemError `ERR_TRANSPORT` if it cannot be made or others can enter it
 */
export function preparePrivateDirectory(path: string): boolean {
  const directory = dirname(path);
  try {
    mkdirSync(directory, { mode: 0o700 });
    return true;
  } catch (cause) {
    const code = codeOf(cause);
    if (code !== 'EEXIST') throw failed(`the directory ${directory} cannot be made: ${code}`, cause);
  }
  const stat = lstatSync(directory);
  if (!stat.isDirectory()) throw failed(`${directory} is not a directory`);
  if (stat.uid !== process.getuid?.())
    throw failed(`the directory ${directory} belongs to user ${stat.uid}, not to us`);
  if ((stat.mode & 0o077) !== 0) {
    const mode = (stat.mode & 0o777).toString(8);
    throw failed(
      `the directory ${directory} has mode 0${mode}: others could attach; choose one with mode 0700, or one that does not exist yet`,
    );
  }
  return false;
}

/**
 * Frees a path that a host left behind when it was killed.
 * @throws SystemError `ERR_TRANSPORT` if somebody listens there, or if it is no socket
 */
export async function removeStaleSocket(path: string): Promise<void> {
  const stat = statOf(path);
  if (stat === undefined) return;
  if (!stat.isSocket()) throw failed(`${path} exists and is not a socket; it is left alone`);
  const answer = await knock(path);
  if (answer === 'listens') throw failed(`${path} is in use: a host listens there`);
  if (answer !== 'ECONNREFUSED' && answer !== 'ENOENT') throw failed(`${path} cannot be looked at: ${answer}`);
  unlinkIfSame(path, stat);
}

/** Closes a socket file to other users, beyond what its directory does. */
export function makePrivate(path: string): void {
  chmodSync(path, 0o600);
}

/**
 * What a guest does when its host vanished without a goodbye: nobody else may be left to do it.
 * @param seen the socket as it was when we connected
 */
export async function removeAbandoned(path: string, seen: Stats, ownsDirectory: boolean): Promise<void> {
  // A new host may listen there already; and one that is being killed answers for a moment after its guests lost it.
  for (const delayMs of [10, 50, 250]) {
    if ((await knock(path)) === 'ECONNREFUSED') break;
    await new Promise((resolve) => setTimeout(resolve, delayMs));
  }
  if ((await knock(path)) === 'ECONNREFUSED') unlinkIfSame(path, seen);
  if (ownsDirectory) removeDirectory(path);
}

/** Removes a directory that a host made, unless something else is in it. */
export function removeDirectory(path: string): void {
  try {
    rmdirSync(dirname(path));
  } catch (error) {
    const code = codeOf(error);
    if (code !== 'ENOTEMPTY' && code !== 'ENOENT' && code !== 'EBUSY')
      throw failed(`${dirname(path)} stays: ${code}`, error);
  }
}

/**
 * The file at `path`, links not followed; undefined if there is none.
 * @throws SystemError `ERR_TRANSPORT` if we may not look
 */
export function statOf(path: string): Stats | undefined {
  try {
    return lstatSync(path, { throwIfNoEntry: false });
  } catch (cause) {
    const code = codeOf(cause);
    throw failed(`${path} cannot be reached: ${code === 'EACCES' ? 'no permission' : code}`, cause);
  }
}

/** `listens`, or the error code of a connection attempt. */
function knock(path: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = createConnection(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve('listens');
    });
    socket.once('error', (error) => resolve(codeOf(error)));
  });
}

function unlinkIfSame(path: string, seen: Stats): void {
  const now = statOf(path);
  if (now === undefined || now.ino !== seen.ino || now.ctimeMs !== seen.ctimeMs) return;
  try {
    unlinkSync(path);
  } catch (error) {
    // Several guests of one host clean up at the same time.
    if (codeOf(error) !== 'ENOENT') throw failed(`${path} cannot be removed: ${codeOf(error)}`, error);
  }
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? String(error);
}

function failed(message: string, cause?: unknown): SystemError {
  return new SystemError('ERR_TRANSPORT', message, { cause });
}
