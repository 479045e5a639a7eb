// server.mjs - starts programs of the build and ends them again.
// @ts-check

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';

/** Run a program to its end. Rejects, with what it said, unless it exits 0.
 * @param {string} program @param {string[]} args
 * @returns {Promise<string>} its standard output */
export async function run(program, args) {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let out = '', err = '';
  child.stdout.on('data', (data) => (out += data));
  child.stderr.on('data', (data) => (err += data));
  const [code, signal] = await once(child, 'close');
  if (code !== 0) throw new Error(`${program} ${args.join(' ')} ended with ${signal ?? code}: ${err || out}`);
  return out;
}

/** Whether a port of loopback can be listened on. @param {number} port */
export async function portIsFree(port) {
  const probe = createServer();
  return new Promise((resolve) => {
    probe.once('error', () => resolve(false));
    probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)));
  });
}

/**
 * Start synapsed and wait until it listens.
 * @param {string} bin folder of the programs
 * @param {string[]} args
 * @param {import('node:fs').WriteStream} log gets its standard error
 */
export async function startServer(bin, args, log) {
  const child = spawn(`${bin}/synapsed`, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  child.stderr.pipe(log, { end: false });
  const ended = once(child, 'exit');

  for await (const line of createInterface({ input: child.stdout })) {
    const url = /listening on (\S+)/.exec(line)?.[1];
    if (url) {
      child.stdout.resume();
      return {
        url,
        pid: child.pid,
        ended,
        /** End it and its children as an operator would. */
        async stop() {
          child.kill('SIGTERM');
          await ended;
        },
      };
    }
  }
  const [code, signal] = await ended;
  throw new Error(`synapsed ended with ${signal ?? code} before it listened`);
}
