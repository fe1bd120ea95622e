// A replica without a page: it writes to a dictionary over a WebSocket, as docs/protocol.md describes it, and reads nothing.

/** Pushes without an ack: half of what the server allows. */
const flight = 4;

/** One writer, which lives in a browser's page: only a page of the server's own origin gets a socket. */
export class Writer {
  #writer;

  /** Connects from a page of the server to one of its dictionaries. */
  static async open(page, dictionary) {
    const writer = new Writer();
    writer.#writer = await page.evaluateHandle(connect, dictionary);
    return writer;
  }

  /**
   * Writes a value, a JSON text, and returns when it was sent and when its Ack came, in milliseconds since 1970. It has seen
   * what this writer wrote to the key before, so nothing conflicts.
   */
  async put(key, value) {
    return this.#writer.evaluate(async (writer, pair) => {
      const sent = performance.timeOrigin + performance.now();
      return { sent, acknowledged: await writer.push([pair]) };
    }, [key, value]);
  }

  /** Writes all of some keys and values, in their order. Returns when all are acknowledged. */
  async putAll(pairs) {
    await this.#writer.evaluate(async (writer, { json, flight }) => {
      const pairs = JSON.parse(json);
      const acks = [];
      for (let from = 0; from < pairs.length; from += 512) {
        acks.push(writer.push(pairs.slice(from, from + 512)));
        await acks.at(-flight);
      }
      await Promise.all(acks);
    }, { json: JSON.stringify(pairs), flight });
  }

  /** Writes `count` entries, `key-000000` with the value 0 and so on. Returns when all are acknowledged. */
  async seed(count) {
    await this.putAll(Array.from({ length: count }, (_, number) => [`key-${String(number).padStart(6, "0")}`, String(number)]));
  }

  /** Ends the connection. */
  async close() {
    await this.#writer.evaluate((writer) => writer.close());
  }
}

/** Runs in the page. */
async function connect(dictionary) {
  const head = (major, length) => {
    const number = BigInt(length);
    const bytes = [23n, 0xffn, 0xffffn, 0xffffffffn].findIndex((max) => number <= max);
    const width = [0, 1, 2, 4, 8].at(bytes);
    const digits = Array.from({ length: width }, (_, at) => Number((number >> BigInt(8 * (width - 1 - at))) & 0xffn));
    return [(major << 5) | (width === 0 ? Number(number) : 24 + Math.log2(width)), ...digits];
  };
  const encode = (item) => {
    if (item === null) return [0xf6];
    if (Array.isArray(item)) return [...head(4, item.length), ...item.flatMap(encode)];
    if (item instanceof Uint8Array) return [...head(2, item.length), ...item];
    if (typeof item === "string") {
      const text = new TextEncoder().encode(item);
      return [...head(3, text.length), ...text];
    }
    return head(0, item);
  };

  const replica = crypto.getRandomValues(new Uint32Array(1))[0];
  let time = 0n;
  const stamp = () => {
    const now = BigInt(Date.now()) << 15n;
    time = now > time ? now : time + 1n;
    const bytes = new Uint8Array(16);
    const view = new DataView(bytes.buffer);
    view.setBigUint64(0, (time << 1n) | 1n);
    view.setBigUint64(8, BigInt(replica));
    return bytes;
  };

  const socket = new WebSocket(`${location.origin.replace("http", "ws")}/api/v1/dictionaries/${dictionary}/socket`, "keybook.v1");
  socket.binaryType = "arraybuffer";
  await new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onerror = () => reject(new Error("the socket does not open"));
  });
  const pushes = [];
  let acknowledged = 0;
  const fail = (message) => pushes.slice(acknowledged).forEach(({ reject }) => reject(new Error(message)));
  socket.onclose = () => fail("the socket closed");
  const welcome = new Promise((resolve) => {
    socket.onmessage = ({ data }) => {
      const at = performance.timeOrigin + performance.now();
      const frame = new Uint8Array(data);
      if (frame[1] === 16) return resolve();
      if (frame[1] === 23) return fail(new TextDecoder().decode(frame));
      if (frame[1] !== 18) return;
      // An Ack ends with its exceptions, and acks come in the order of their pushes.
      if (frame.at(-1) !== 0x80) return fail("an operation was refused");
      pushes[acknowledged++].resolve(at);
    };
  });
  const secret = () => crypto.getRandomValues(new Uint8Array(16));
  // It proves another replica than it writes as: each write says what it has seen.
  socket.send(new Uint8Array(encode([0, [1, 1], null, [secret()], null, null, [], 0, Date.now(), [secret(), "Writer"], 0])));
  await welcome;

  const written = new Map();
  const push = (pairs) => {
    const ops = pairs.map(([key, value]) => {
      const seen = written.get(key) ?? new Uint8Array(16);
      written.set(key, stamp());
      return [key, value, written.get(key), [seen], null, null];
    });
    const ack = new Promise((resolve, reject) => pushes.push({ resolve, reject }));
    socket.send(new Uint8Array(encode([1, pushes.length - 1, ops])));
    return ack;
  };
  const close = () => {
    socket.onclose = null;
    socket.close();
  };
  return { push, close };
}
