// A page in Chromium or Firefox: what playwright-core and puppeteer-core name alike.

/** A page. An engine adds what it does its own way. */
export class Tab {
  /** @param page of the engine's driver
   *  @param another opens another page of the same person
   *  @param problems what the pages of this person have written as errors, and what nobody has caught */
  constructor(page, another, problems) {
    this.page = page;
    this.beside = another;
    this.problems = () => problems;
    page.on("console", (message) => message.type() === "error" && problems.push(message.text()));
    page.on("pageerror", (error) => problems.push(String(error.stack ?? error)));
  }

  async go(url) {
    await this.page.goto(url);
  }

  async reload() {
    await this.page.reload();
  }

  /** What an expression is, or what its promise brings. */
  run(expression) {
    return this.page.evaluate(expression);
  }

  async click(element) {
    await element.click();
  }

  async type(text) {
    await this.page.keyboard.type(text);
  }

  async picture(path) {
    await this.page.screenshot({ path });
  }

  async close() {
    await this.page.close();
  }
}
