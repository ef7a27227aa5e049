// Preload of every test file (see .taprc): makes processes start fast, those that tests start too. Nothing that a test
// proves needs it.

import { resolve } from 'node:path';

// Compiled modules are kept between processes: each test file is one, and most load all of src. The path is absolute
// for children that start elsewhere.
process.env.NODE_COMPILE_CACHE = resolve(process.env.NODE_COMPILE_CACHE ?? 'node_modules/.cache/node');

// Tap's collector of coverage, which is off, would load in each child that inherits our environment.
const options = process.env.NODE_OPTIONS?.replace(/"?--import=\S*@tapjs\/processinfo\/\S*/, '').trim();
if (options) process.env.NODE_OPTIONS = options;
else delete process.env.NODE_OPTIONS;

/** What a child sees of our environment where the test says itself what else it sees. */
export const childEnvironment = { PATH: process.env.PATH, NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE };
