// browsers.mjs - headless Chromium volunteers.
// @ts-check

import { chromium } from 'playwright-core';

/** What a headless Chromium needs to be quiet, and as root to start at all. */
export const CHROMIUM_ARGS = [
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  ...(process.getuid?.() === 0 ? ['--no-sandbox'] : []),
];

/** @param {string[]} [args] more arguments */
export function launchChromium(args = []) {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    headless: true,
    args: [...CHROMIUM_ARGS, ...args],
  });
}

/**
 * As launchChromium, but a process of its own that a test may kill or freeze.
 * @param {string[]} [args] more arguments
 */
export function launchChromiumServer(args = []) {
  return chromium.launchServer({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    headless: true,
    args: [...CHROMIUM_ARGS, ...args],
  });
}

/** The browser behind that process. @param {import('playwright-core').BrowserServer} server */
export function connectTo(server) {
  return chromium.connect(server.wsEndpoint());
}

/**
 * Open the contribute page once a name, each with a storage of its own, so
 * that each is an account of its own.
 * @param {string} url of the grid
 * @param {string[]} names
 * @param {{args?: string[], gpu?: 'faster'|'always'|'never'}} [more]  arguments of Chromium, and what the page is asked
 */
export async function openVolunteers(url, names, { args = [], gpu = 'faster' } = {}) {
  const browser = await launchChromium(args);
  for (const name of names) {
    const context = await browser.newContext();
    const page = await context.newPage();
    await page.goto(`${url}/contribute?autostart=1&intensity=100&gpu=${gpu}&name=${encodeURIComponent(name)}`);
  }
  return browser;
}
