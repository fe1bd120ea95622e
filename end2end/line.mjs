// A bad line between browsers and a server.
//
// It is a proxy of TCP connections that knows where in them a WebSocket's messages begin and end, and passes every byte as it
// came, so Host and Origin are those of the browser. What a network can do to a connection it does:
//
// - **cut**: a message and everything behind it is lost, both ways, with what was still under way, and both ends learn of it.
//   (A message inside a living connection cannot be lost: that is what TCP is for.) Or all connections are, and no other is let
//   through, as for a device that is offline.
// - **hold**: nothing passes any more, and neither end learns of it.
// - **delay**: a message and all behind it come later. Within a direction of a connection the order stays.
//
// and what a network cannot do, but a client that sends again does:
//
// - **double**: a message comes twice.
//
// What it does not do: reorder within a connection, change bytes, or limit the rate.

import assert from "node:assert/strict";
import { once } from "node:events";
import net from "node:net";
import { items } from "./cbor.mjs";
import { atEnd } from "./harness.mjs";

/** The longest delay, in milliseconds: above a round trip across the world, below what anybody waits for. */
const delayMsMax = 250;

/** The numbers of frames; see docs/protocol.md. */
const frames = { push: 1, delta: 17, ack: 18, check: 19 };

/** What may go wrong, by the messages that it can happen to. */
const kinds = {
  cut: () => true,
  hold: () => true,
  "delay of the browser's": ({ isUp }) => isUp,
  "delay of the server's": ({ isUp }) => !isUp,
  "double Push": ({ isUp, frame }) => isUp && frame === frames.push,
  "double Delta": ({ isUp, frame }) => !isUp && frame === frames.delta,
  "double Ack": ({ isUp, frame }) => !isUp && frame === frames.ack,
};

/** A line of which everything that goes wrong is decided by a stream of random numbers. */
export class Line {
  /** Where browsers go instead of the server. */
  url;
  /** How often each kind of fault has happened. */
  happened = Object.fromEntries(Object.keys(kinds).map((kind) => [kind, 0]));
  /** What the server has said its digest was, by seq. */
  digests = new Map();
  /** The conflict rows that the server has told of, by their ids: each the key, the value that stayed and the other one. */
  conflicts = new Map();
  /** How many bytes have passed to the server, and to the browsers. */
  bytes = { up: 0, down: 0 };

  #target;
  #random;
  #listener;
  #connections = new Set();
  /** Kinds of faults to come. */
  #planned = [];
  /** How the addresses end whose answers are held. */
  #heldAnswers;
  /** How the addresses begin of requests that do not get through. */
  #cutRequests;

  /** Starts one to a server, on a free port. It ends with the test. */
  static async start(test, server, random) {
    const line = new Line();
    line.#target = new URL(server.url);
    line.#random = random;
    line.#listener = net.createServer((browser) => line.#connect(browser));
    line.#listener.listen(0, "127.0.0.1");
    await once(line.#listener, "listening");
    line.url = `http://127.0.0.1:${line.#listener.address().port}`;
    atEnd(test, async () => {
      for (const connection of line.#connections) connection.destroy();
      line.#listener.close();
      await once(line.#listener, "close");
    });
    return line;
  }

  /** Lets faults happen from now on, so many of each kind, in a random order and at random messages. */
  trouble(counts) {
    for (const kind of Object.keys(counts)) assert.ok(kind in kinds, kind);
    const each = Object.entries(counts).flatMap(([kind, count]) => Array(count).fill(kind));
    this.#planned.push(...this.#random.shuffled(each));
  }

  /** How many faults are to come. */
  get planned() {
    return this.#planned.length;
  }

  /** Holds all connections that there are. New ones are good. */
  hold() {
    for (const connection of this.#connections) connection.hold();
  }

  /** Holds the connections of later requests whose addresses end so, or of none. */
  holdAnswers(ending) {
    this.#heldAnswers = ending;
  }

  /** Cuts all connections that there are, and until `mend` each that asks for an address that begins so. */
  cut(beginning = "/") {
    this.#cutRequests = beginning;
    for (const connection of this.#connections) connection.cut();
  }

  /** Lets all requests through again. */
  mend() {
    this.#cutRequests = undefined;
  }

  // What a connection asks its line.

  /** What happens to a message, if anything. */
  decide(message) {
    if (!message.isUp && message.frame === frames.check) this.#noteCheck(message.payload);
    if (!message.isUp && message.frame === frames.delta) this.#noteDelta(message.payload);
    if (this.#planned.length === 0 || this.#random.below(2) === 0) return undefined;
    const at = this.#planned.findIndex((kind) => kinds[kind](message));
    if (at < 0) return undefined;
    const [kind] = this.#planned.splice(at, 1);
    this.happened[kind]++;
    return kind;
  }

  /** How long a delay is. */
  delayMs() {
    return 1 + this.#random.below(delayMsMax);
  }

  /** Whether a request's connection is to be held. */
  holdsAnswer(address) {
    return this.#heldAnswers !== undefined && address.endsWith(this.#heldAnswers);
  }

  /** Whether a request's connection is to be cut. */
  cutsRequest(address) {
    return this.#cutRequests !== undefined && address.startsWith(this.#cutRequests);
  }

  #connect(browser) {
    const server = net.connect(this.#target.port, this.#target.hostname);
    const connection = new Connection(this, browser, server);
    this.#connections.add(connection);
    connection.ended.then(() => this.#connections.delete(connection));
  }

  /** A Check is `[19, [seq, digest, live, tombstones]]`. */
  #noteCheck(payload) {
    const [[, [seq, digest]]] = items(payload);
    this.digests.set(seq, (this.digests.get(seq) ?? new Set()).add(digest.toString("hex")));
  }

  /** A Delta is `[17, to, advance, changes, more]`; a change that begins with 1 is a conflict, `[key, value, loser, …, winner, …]`. */
  #noteDelta(payload) {
    const [[, , , changes]] = items(payload);
    for (const [kind, conflict] of changes) {
      if (kind !== 1) continue;
      const [key, value, loser] = conflict;
      this.conflicts.set(`${key} ${loser.toString("hex")}`, [key, value]);
    }
  }
}

/** A browser's connection and the one to the server that goes with it. */
class Connection {
  ended;

  #sockets;
  #isHeld = false;

  constructor(line, browser, server) {
    this.#sockets = [browser, server];
    for (const socket of this.#sockets) socket.setNoDelay();
    const up = new Direction(line, this, server, true);
    const down = new Direction(line, this, browser, false);
    up.onUpgrade = () => down.expectHead();
    for (const [from, direction] of [[browser, up], [server, down]]) {
      from.on("data", (bytes) => this.#isHeld || direction.take(bytes));
      from.on("end", () => this.#isHeld || direction.finish());
      // It is followed by a close.
      from.on("error", () => {});
      from.on("close", (failed) => failed && !this.#isHeld && this.destroy());
    }
    this.ended = Promise.all(this.#sockets.map((socket) => new Promise((resolve) => socket.once("close", resolve))));
  }

  /** Whether nothing passes any more. */
  get isOver() {
    return this.#isHeld || this.#sockets.every((socket) => socket.destroyed);
  }

  /** What is under way is lost too. */
  hold() {
    this.#isHeld = true;
  }

  /** Ends it at both ends, as a router does that has forgotten the connection. */
  cut() {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  destroy() {
    for (const socket of this.#sockets) socket.destroy();
  }
}

/** One direction of a connection. */
class Direction {
  /** Called when a browser has asked for a WebSocket. */
  onUpgrade = () => {};

  #line;
  #connection;
  #to;
  #isUp;
  /** As what bytes are read: an HTTP head, a WebSocket's messages, or nothing in particular. */
  #reads;
  #unread = Buffer.alloc(0);
  /** The frames so far of a message that is not complete. */
  #fragments = [];
  /** What is to be passed on, with its time; null is the end. */
  #waiting = [];
  #timer;

  constructor(line, connection, to, isUp) {
    [this.#line, this.#connection, this.#to, this.#isUp] = [line, connection, to, isUp];
    this.#reads = isUp ? "head" : "bytes";
  }

  /** A head is next, and if it agrees to a WebSocket, messages are. */
  expectHead() {
    this.#reads = "head";
  }

  /** Bytes have come. */
  take(bytes) {
    this.#unread = Buffer.concat([this.#unread, bytes]);
    while (this.#reads === "head" && this.#takeHead());
    if (this.#reads === "messages") this.#takeMessages();
    if (this.#reads === "bytes") {
      this.#pass(this.#unread, 0);
      this.#unread = Buffer.alloc(0);
    }
  }

  /** Nothing more will come. */
  finish() {
    this.#pass(null, 0);
  }

  /** Passes a head on, if it is there as a whole. A request has no body here: a page only asks. */
  #takeHead() {
    const end = this.#unread.indexOf("\r\n\r\n");
    if (end < 0) return false;
    const head = this.#unread.subarray(0, end + 4);
    this.#unread = this.#unread.subarray(end + 4);
    const text = head.toString("latin1");
    const [first, second] = text.split(" ", 2);
    if (this.#isUp && this.#line.holdsAnswer(second)) {
      this.#connection.hold();
      return false;
    }
    if (this.#isUp && this.#line.cutsRequest(second)) {
      this.#connection.cut();
      return false;
    }
    if (this.#isUp && /^upgrade: *websocket\r$/im.test(text)) {
      this.#reads = "messages";
      this.onUpgrade();
    } else if (!this.#isUp) {
      this.#reads = first.startsWith("HTTP/") && second === "101" ? "messages" : "bytes";
    }
    this.#pass(head, 0);
    return true;
  }

  #takeMessages() {
    for (;;) {
      const frame = parseFrame(this.#unread);
      if (!frame || this.#connection.isOver) return;
      this.#unread = this.#unread.subarray(frame.bytes.length);
      if (frame.isControl) {
        this.#pass(frame.bytes, 0);
        continue;
      }
      this.#fragments.push(frame);
      if (frame.isLast) this.#takeMessage(this.#fragments.splice(0));
    }
  }

  #takeMessage(fragments) {
    const bytes = Buffer.concat(fragments.map((frame) => frame.bytes));
    const payload = Buffer.concat(fragments.map((frame) => frame.payload));
    // Frames are arrays of a few elements; Presence alone has a number that takes two bytes.
    const kind = this.#line.decide({ isUp: this.#isUp, frame: payload[1], payload });
    switch (kind) {
      case "cut":
        return this.#connection.cut();
      case "hold":
        return this.#connection.hold();
      case "double Push":
      case "double Delta":
      case "double Ack":
        this.#pass(bytes, 0);
        return this.#pass(bytes, 0);
      default:
        return this.#pass(bytes, kind ? this.#line.delayMs() : 0);
    }
  }

  #pass(bytes, delayMs) {
    const due = Math.max(performance.now() + delayMs, this.#waiting.at(-1)?.due ?? 0);
    this.#waiting.push({ bytes, due });
    if (this.#timer === undefined) this.#flush();
  }

  #flush() {
    this.#timer = undefined;
    while (this.#waiting.length > 0 && !this.#connection.isOver) {
      const afterMs = this.#waiting[0].due - performance.now();
      if (afterMs > 0) {
        this.#timer = setTimeout(() => this.#flush(), Math.ceil(afterMs));
        return;
      }
      const { bytes } = this.#waiting.shift();
      if (bytes === null) {
        this.#to.end();
      } else {
        this.#line.bytes[this.#isUp ? "up" : "down"] += bytes.length;
        this.#to.write(bytes);
      }
    }
  }
}

/** The first frame in some bytes (RFC 6455, section 5.2), if it is there as a whole. */
function parseFrame(bytes) {
  if (bytes.length < 2) return undefined;
  const isMasked = (bytes[1] & 0x80) !== 0;
  const short = bytes[1] & 0x7f;
  let at = 2 + (short === 126 ? 2 : short === 127 ? 8 : 0);
  if (bytes.length < at) return undefined;
  const length = short === 126 ? bytes.readUInt16BE(2) : short === 127 ? Number(bytes.readBigUInt64BE(2)) : short;
  const mask = isMasked ? bytes.subarray(at, at + 4) : undefined;
  at += isMasked ? 4 : 0;
  if (bytes.length < at + length) return undefined;
  const payload = Buffer.from(bytes.subarray(at, at + length));
  if (mask) payload.forEach((byte, index) => (payload[index] = byte ^ mask[index % 4]));
  const isControl = (bytes[0] & 0x08) !== 0;
  return { bytes: bytes.subarray(0, at + length), payload, isControl, isLast: (bytes[0] & 0x80) !== 0 };
}
