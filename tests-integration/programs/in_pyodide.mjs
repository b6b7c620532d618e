// SPDX-License-Identifier: MIT
// node in_pyodide.mjs FOLDER_WITH_PYODIDE FOLDER_WITH_WHEELS PROGRAM: runs a Python program in Pyodide, beside the wheels.
import fs from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";

const [home, wheels, program] = process.argv.slice(2);
const { loadPyodide } = await import(pathToFileURL(path.join(home, "node_modules", "pyodide", "pyodide.mjs")));
const pyodide = await loadPyodide();
for (const name of fs.readdirSync(wheels).filter((each) => each.endsWith(".whl"))) {
  pyodide.unpackArchive(new Uint8Array(fs.readFileSync(path.join(wheels, name))), "wheel");
}
try {
  await pyodide.runPythonAsync(fs.readFileSync(program, "utf8"));
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
