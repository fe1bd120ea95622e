// Puts functions that are alike side by side, where gzip finds what they share: its window is 32 kB, and generic code is in a page
// many times, once a type. A thirtieth less goes over the wire.

/** Grams are runs of so many bytes. */
const GRAM = 4;
/** A function is compared with the last ones before it that have so many bytes together. */
const WINDOW = 8000;
/** A gram that as many functions have says nothing of what they share. */
const COMMON = 400;

const [CUSTOM, CODE] = [0, 10];

/**
 * The names by which `wasm-opt --reorder-functions-by-name` puts a module's functions in that order: a name section, to stand at
 * the end of a module that has none.
 */
export function orderingNames(wasm) {
  const imports = WebAssembly.Module.imports(new WebAssembly.Module(wasm));
  const imported = imports.filter(({ kind }) => kind === "function").length;
  const names = [];
  order(bodies(wasm)).forEach((body, position) => (names[body] = Buffer.from(String(position).padStart(6, "0"))));
  const entries = names.flatMap((name, body) => [leb(imported + body), leb(name.length), name]);
  const functions = Buffer.concat([leb(names.length), ...entries]);
  const section = Buffer.concat([leb(4), Buffer.from("name"), leb(1), leb(functions.length), functions]);
  return Buffer.concat([leb(CUSTOM), leb(section.length), section]);
}

/** From one body to the one that shares most with those just before, weighed by how rare it is and by how long the body is. */
function order(bodies) {
  const grams = bodies.map(gramsOf);
  const having = new Map();
  grams.forEach((of, body) => {
    for (const gram of of) {
      if (!having.has(gram)) having.set(gram, []);
      having.get(gram).push(body);
    }
  });
  const shared = new Float64Array(bodies.length);
  const inWindow = new Map();
  const count = (body, by) => {
    for (const gram of grams[body]) {
      const [before, all] = [inWindow.get(gram) ?? 0, having.get(gram)];
      inWindow.set(gram, before + by);
      if (all.length < 2 || all.length >= COMMON || (before > 0 && before + by > 0)) continue;
      const weight = by * Math.log(bodies.length / all.length);
      for (const other of all) shared[other] += weight;
    }
  };
  const likeness = (body) => shared[body] / (1 + grams[body].size) ** 0.7;
  const best = (left, of) => left.reduce((a, b) => (of(b) > of(a) ? b : a));

  const ordered = [];
  let left = bodies.map((_, body) => body);
  let [next, oldest, bytes] = [best(left, (body) => bodies[body].length), 0, 0];
  for (;;) {
    ordered.push(next);
    left = left.filter((body) => body !== next);
    if (left.length === 0) return ordered;
    count(next, 1);
    bytes += bodies[next].length;
    for (; bytes > WINDOW && oldest < ordered.length - 1; oldest++) {
      count(ordered[oldest], -1);
      bytes -= bodies[ordered[oldest]].length;
    }
    next = best(left, likeness);
  }
}

function gramsOf(body) {
  const grams = new Set();
  for (let at = 0; at + GRAM <= body.length; at++) grams.add(body.readUInt32LE(at));
  return grams;
}

/** The bodies of a module's own functions, in their order. */
function bodies(wasm) {
  const found = [];
  for (let at = 8; at < wasm.length; ) {
    const section = wasm[at];
    const [size, start] = readLeb(wasm, at + 1);
    at = start + size;
    if (section !== CODE) continue;
    let [left, body] = readLeb(wasm, start);
    for (; left > 0; left--) {
      const [length, first] = readLeb(wasm, body);
      body = first + length;
      found.push(wasm.subarray(first, body));
    }
  }
  return found;
}

/** A number at a place, and the place behind it. */
function readLeb(bytes, at) {
  for (let number = 0, shift = 0; ; shift += 7) {
    const byte = bytes[at++];
    number += (byte & 0x7f) * 2 ** shift;
    if (byte < 0x80) return [number, at];
  }
}

function leb(number) {
  const bytes = [];
  for (; number >= 0x80; number >>>= 7) bytes.push((number & 0x7f) | 0x80);
  return Buffer.from([...bytes, number]);
}
