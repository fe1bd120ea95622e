// The stories that the page has to tell in each engine.

import { after, describe, test } from "node:test";
import { chromium } from "./chromium.mjs";
import { firefox } from "./firefox.mjs";
import { stories } from "./stories.mjs";
import { webkit } from "./webkit.mjs";

/** How long a story may take, in milliseconds: far above what it takes. */
const storyMsMax = 120_000;

for (const engine of [chromium, firefox, webkit]) {
  describe(engine.name, () => {
    for (const [name, story] of Object.entries(stories)) {
      test(`${engine.name}: ${name}`, { timeout: storyMsMax }, (t) => story(t, engine));
    }
    after(() => engine.end());
  });
}
