// redis.mjs - a connection to the Redis of a grid under test, to look at what
// no route tells: its memory, and how sequences get on.
// @ts-check

import { once } from 'node:events';
import { connect } from 'node:net';

/** @typedef {string | number | null | any[]} Reply */

export class Redis {
  /** @param {import('node:net').Socket} stream connected */
  constructor(stream) {
    this.stream = stream;
    this.text = Buffer.alloc(0);
    /** @type {((reply: Reply | Error) => void)[]} */
    this.waiting = [];
    stream.on('data', (data) => {
      this.text = Buffer.concat([this.text, data]);
      for (let found; this.waiting.length && (found = parse(this.text, 0)); ) {
        this.text = this.text.subarray(found.end);
        this.waiting.shift()?.(found.reply);
      }
    });
    stream.on('close', () => {
      for (const end of this.waiting.splice(0)) end(new Error('Redis closed the connection'));
    });
    stream.on('error', () => {}); // close follows
  }

  /** @param {string} socket path of a Unix socket */
  static async open(socket) {
    const stream = connect(socket);
    await once(stream, 'connect');
    return new Redis(stream);
  }

  /** @param {...(string | number)} words @returns {Promise<Reply>} */
  call(...words) {
    const parts = words.map((word) => Buffer.from(String(word)));
    this.stream.write(`*${parts.length}\r\n`);
    for (const part of parts) {
      this.stream.write(`$${part.length}\r\n`);
      this.stream.write(part);
      this.stream.write('\r\n');
    }
    return new Promise((resolve, reject) =>
      this.waiting.push((reply) => (reply instanceof Error ? reject(reply) : resolve(reply))));
  }

  /** A number that `INFO` tells. @param {string} name */
  async info(name) {
    return Number(new RegExp(`^${name}:(\\d+)`, 'm').exec(String(await this.call('INFO')))?.[1] ?? NaN);
  }

  close() {
    this.stream.destroy();
  }
}

/** The reply that begins at `at`, or null while it is not whole.
 * @param {Buffer} text @param {number} at @returns {{reply: Reply | Error, end: number} | null} */
function parse(text, at) {
  const eol = text.indexOf('\r\n', at);
  if (eol < 0) return null;
  const line = text.toString('utf8', at + 1, eol), n = Number(line);
  switch (String.fromCharCode(text[at])) {
    case '+':
      return { reply: line, end: eol + 2 };
    case '-':
      return { reply: new Error(line), end: eol + 2 };
    case ':':
      return { reply: n, end: eol + 2 };
    case '$':
      if (n < 0) return { reply: null, end: eol + 2 };
      return text.length < eol + n + 4 ? null : { reply: text.toString('utf8', eol + 2, eol + 2 + n), end: eol + n + 4 };
    case '*': {
      const list = [];
      let end = eol + 2;
      for (let i = 0; i < n; i++) {
        const item = parse(text, end);
        if (!item) return null;
        if (item.reply instanceof Error) return item;
        list.push(item.reply);
        end = item.end;
      }
      return { reply: list, end };
    }
  }
  return { reply: new Error('not a reply'), end: eol + 2 };
}
