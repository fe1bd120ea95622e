// Numbers that look random and are the same for the same seed.

/** The seed of this run: `KEYBOOK_SEED`, or 1. */
export const seed = Number(process.env.KEYBOOK_SEED ?? 1);

/** A stream of numbers, by SplitMix32. */
export class Random {
  #state;

  /** Streams of the same seed and other names have nothing to do with each other. */
  constructor(seed, name) {
    this.#state = seed | 0;
    for (const character of String(name)) this.#state = (this.#next() ^ character.codePointAt(0)) | 0;
  }

  /** A whole number from 0 up to, and without, `bound`. */
  below(bound) {
    return Math.floor((this.#next() / 2 ** 32) * bound);
  }

  /** One of several. */
  pick(items) {
    return items[this.below(items.length)];
  }

  /** The same items in another order. */
  shuffled(items) {
    const shuffled = [...items];
    for (let last = shuffled.length - 1; last > 0; last--) {
      const other = this.below(last + 1);
      [shuffled[last], shuffled[other]] = [shuffled[other], shuffled[last]];
    }
    return shuffled;
  }

  #next() {
    this.#state = (this.#state + 0x9e3779b9) | 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 16), 0x21f0aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
    return (mixed ^ (mixed >>> 15)) >>> 0;
  }
}
