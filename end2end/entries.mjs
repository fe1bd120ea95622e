// The page's parts by the names that people and screen readers know them by.

export const field = (page, name) => page.getByRole("textbox", { name, exact: true });
export const grid = (page) => page.getByRole("grid", { name: "Entries" });
export const row = (page, key) => grid(page).getByRole("row", { name: key, exact: true });
export const value = (page, key) => row(page, key).getByRole("gridcell").nth(0);
export const state = (page, key) => row(page, key).getByRole("gridcell").nth(2);

/** Sets an entry by the form, as a person would. */
export async function set(page, key, text) {
  await field(page, "Key").fill(key);
  await field(page, "Value").fill(text);
  await page.getByRole("button", { name: "Set", exact: true }).click();
}

/** Sets many entries by the form, one after the other, as fast as a script in the page can. */
export async function setAll(page, pairs) {
  await page.evaluate(async (pairs) => {
    const form = document.querySelector("form.entry");
    for (const pair of pairs) {
      for (const [at, name] of ["key", "value"].entries()) {
        form.elements[name].value = pair[at];
        form.elements[name].dispatchEvent(new Event("input", { bubbles: true }));
      }
      form.requestSubmit();
      await scheduler.yield();
    }
  }, pairs);
}

/** Waits until a part of the page says exactly this. */
export async function says(locator, text) {
  const exact = new RegExp(`^\\s*${text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}\\s*$`);
  await locator.filter({ hasText: exact }).waitFor();
}

/** Waits until the status of this name (Connection, Sync) says exactly this. */
export async function status(page, name, text) {
  await says(page.getByRole("status", { name, exact: true }), text);
}

/** Waits until the replica is the server's, all edits acknowledged and all digests equal. */
export async function settled(page) {
  await status(page, "Connection", "Live");
  await status(page, "Sync", "Saved");
  await page.getByText("Verified", { exact: true }).waitFor();
}

/** All keys and values that the page shows, for a dictionary that fits its window. */
export async function shown(page) {
  const rows = await grid(page).locator("[role=row][aria-label]").all();
  const pairs = rows.map(async (each) => [await each.getAttribute("aria-label"), await each.locator(".text").first().textContent()]);
  return Object.fromEntries(await Promise.all(pairs));
}

/** All keys and values that the page shows, whatever their number: it is scrolled from end to end. */
export async function shownInAll(page) {
  return page.evaluate(async () => {
    const grid = document.querySelector("[role=grid]");
    const pairs = {};
    grid.scrollTop = 0;
    for (let before = -1; grid.scrollTop !== before; ) {
      // The rows of a position are there in the frame after the one in which it was scrolled to.
      await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
      for (const row of grid.querySelectorAll("[role=row][aria-label]")) {
        pairs[row.ariaLabel] = row.querySelector(".text").textContent;
      }
      before = grid.scrollTop;
      grid.scrollTop += grid.clientHeight;
    }
    return pairs;
  });
}
