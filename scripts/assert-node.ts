// The tests run on the Node that `npm ci` brings. A silent fall-back to the machine's own would test something else.

const major = Number(process.versions.node.split('.')[0]);
if (major !== 26) {
  console.error(
    `tests need Node 26 (the devDependency "node"), this is ${process.version}: run them with npm, after npm ci ` +
      'with install scripts allowed for "node"',
  );
  process.exit(1);
}
