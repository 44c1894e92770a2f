"""Runs the examples of the Markdown files, and checks the files; see docs.sh.

Prints a line for each block and each file, and writes how many passed and how many failed to a file.
"""

import os
import pathlib
import re
import subprocess
import sys
import time
import tomllib
import urllib.request

# Words after the language of a shell block that say why it is not run.
MARKS = {"aws", "docker", "build"}
# The word of a block that starts a gateway, which runs until the end of its page.
GATEWAY = "gateway"
# Languages of blocks that are run elsewhere, or that are nothing to run.
ELSEWHERE = {"docs/live.md": {"js", "html"}, "docs/graphql.md": {"js"}}
# Sections that tests/producers.sh runs.
PRODUCERS = {("docs/recording.md", "From services in AWS")}
# The most lines of a page that is to stay short.
MOST_LINES = {"README.md": 150, "ARCHITECTURE.md": 200}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?")


class Block:
    """A fenced block of a Markdown file."""

    def __init__(self, path, line, section, language, mark):
        self.path, self.line, self.section = path, line, section
        self.language, self.mark = language, mark
        self.lines = []
        # The line after its end.
        self.end = None

    def text(self):
        return "".join(line + "\n" for line in self.lines)

    def name(self):
        first = next((line for line in self.lines if line and not line.startswith("#")), "")
        return f"{self.path}:{self.line} {first.strip()[:60]}"


def blocks(path, text):
    """The fenced blocks of a file, and the text around them."""
    found, prose, section, open_block, indent = [], [], "", None, 0
    for number, line in enumerate(text.split("\n"), 1):
        fence = re.match(r"^( *)```(\S*) ?(.*)$", line)
        if open_block and fence and not fence[2]:
            open_block.end = number + 1
            found.append(open_block)
            open_block = None
        elif open_block:
            open_block.lines.append(line[indent:])
        elif fence:
            open_block, indent = Block(path, number, section, fence[2], fence[3].strip()), len(fence[1])
        else:
            prose.append((number, line))
            if line.startswith("## "):
                section = line[3:]
    assert open_block is None, f"{path}: a block does not end"
    return found, prose


def squeezed(text):
    """The text without what does not count."""
    return re.sub(r"\s+", "", TIME.sub("0", text))


def is_like(expected, printed):
    """Whether the program printed what a file shows."""
    parts = squeezed(expected).split("…")
    return re.fullmatch(".*".join(map(re.escape, parts)), squeezed(printed), re.S) is not None


class Runner:
    """Runs the blocks of a file, each with the variables and functions that those before it set."""

    def __init__(self, here, name):
        self.here, self.state = here, here.parent / f"{name}.variables"
        self.state.write_text("")

    def run(self, block):
        if block.language == "python":
            command = ["python3", "-c", block.text()]
        else:
            whole = f'set -a\nsource "{self.state}"\n{block.text()}\n{{ export -p; declare -f; }} >"{self.state}"\n'
            command = ["bash", "-euo", "pipefail", "-c", whole]
        process = subprocess.run(command, cwd=self.here, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
        return process.returncode, process.stdout, process.stderr


    def start(self, block):
        """Starts a gateway, and waits until it is ready. Returns its process and what it printed, if it did not start."""
        log = (self.here.parent / "gateway.log").open("w+")
        process = subprocess.Popen(["bash", "-euo", "pipefail", "-c", block.text()], cwd=self.here, stdin=subprocess.DEVNULL,
                                   stdout=log, stderr=subprocess.STDOUT)
        port = re.search(r"--port (\d+)", block.text())
        url = f"http://127.0.0.1:{port[1] if port else 8000}/healthz"
        for _ in range(300):
            try:
                with urllib.request.urlopen(url, timeout=5):
                    return process, None
            except OSError:
                if process.poll() is not None:
                    break
                time.sleep(0.1)
        log.seek(0)
        return process, f"the gateway did not start: {log.read()}"

    def leaked(self):
        """The variables for a local AWS that the blocks left behind, which a deployment from the same shell would use."""
        return re.findall(r"^declare -x (AWS_\w+)", self.state.read_text(), re.M)


class Checks:
    """Counts."""

    def __init__(self):
        self.passed = self.failed = 0

    def check(self, name, fault):
        if fault:
            self.failed += 1
            print(f"FAIL {name}; {fault}")
        else:
            self.passed += 1
            print(f"ok   {name}")


def run_examples(checks, here, path, found):
    """Runs the blocks of a file that can be run here."""
    runner = Runner(here, path.replace("/", "-"))
    gateways = []
    try:
        run_blocks(checks, runner, gateways, path, found)
    finally:
        for gateway in gateways:
            gateway.terminate()
            gateway.wait()
    checks.check(f"{path}: no variables of a local AWS are left", " ".join(runner.leaked()))


def run_blocks(checks, runner, gateways, path, found):
    """Runs the blocks of a file in their order, and adds the gateways that they start."""
    for index, block in enumerate(found):
        if block.language in ELSEWHERE.get(path, ()) or (path, block.section) in PRODUCERS:
            continue
        if block.language not in ("sh", "python"):
            # What a block prints, a drawing, or an excerpt.
            if block.language not in ("json", "text", "graphql", ""):
                checks.check(block.name(), f"nothing runs a block of {block.language}")
            continue
        if block.mark == GATEWAY:
            process, fault = runner.start(block)
            gateways.append(process)
            checks.check(block.name(), fault)
            continue
        if block.mark:
            if block.mark not in MARKS:
                checks.check(block.name(), f"{block.mark} is no mark")
            continue
        after = found[index + 1] if index + 1 < len(found) else None
        shows = after if after and after.line == block.end and after.language in ("json", "text") else None
        status, printed, error = runner.run(block)
        fault = None
        if status:
            fault = f"exit status {status}:\n{printed}{error}"
        elif shows and not is_like(shows.text(), printed):
            fault = f"it printed:\n{printed}{error}"
        checks.check(block.name(), fault)


def deploys_elsewhere(root, here, found):
    """Runs the commands that deploy with others in place of SAM, where the shell knows a local AWS. Returns what of it SAM
    would use."""
    [block] = [block for block in found if "sam deploy --config-env dev" in block.text()]
    stubs, seen = here.parent / "stubs", here.parent / "seen-by-sam"
    stubs.mkdir(exist_ok=True)
    seen.write_text("")
    for name, script in {
        "python3": "mkdir -p .venv/bin && touch .venv/bin/activate",
        "pip": "true",
        "sam": f'echo "sam $1"; env | grep "^AWS_ENDPOINT_URL" >>"{seen}" || true',
    }.items():
        (stubs / name).write_text(f"#!/usr/bin/env bash\n{script}\n")
        (stubs / name).chmod(0o755)
    local = {f"AWS_ENDPOINT_URL{service}": "http://localhost:8000" for service in ("", "_EVENTBRIDGE", "_LAMBDA", "_SQS")}
    process = subprocess.run(["bash", "-euo", "pipefail", "-c", block.text()], cwd=here, capture_output=True, text=True,
                             env={**os.environ, **local, "PATH": f"{stubs}:{os.environ['PATH']}"})
    if process.returncode or process.stdout.split() != ["sam", "build", "sam", "deploy"]:
        return f"exit status {process.returncode}:\n{process.stdout}{process.stderr}"
    return seen.read_text()


def anchors(prose):
    """The anchors of a file's headings, as GitHub makes them."""
    made = {}
    for _, line in prose:
        heading = re.match(r"^#+ (.*)$", line)
        if heading:
            text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading[1]).lower()
            slug = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
            made[slug] = made.get(slug, -1) + 1
            if made[slug]:
                made[f"{slug}-{made[slug]}"] = 0
    return set(made)


def broken_links(root, path, pages):
    """The relative links of a page that lead nowhere."""
    _, prose = pages[path]
    broken = []
    for number, line in prose:
        line = re.sub(r"`[^`]*`", "", line)
        for target in re.findall(r"\]\(([^)\s]+)\)", line):
            if re.match(r"^[a-z]+:", target):
                continue
            where, _, anchor = target.partition("#")
            file = (root / path).parent / where if where else root / path
            file = pathlib.Path(os.path.normpath(file))
            if not file.exists():
                broken.append(f"line {number}: there is no {target}")
            elif anchor:
                page = str(file.relative_to(root))
                if page not in pages or anchor not in anchors(pages[page][1]):
                    broken.append(f"line {number}: {page} has no #{anchor}")
    return broken


def missing_rows(root, text):
    """The parameters, alarms and outputs of the template that the guide for operators does not have."""
    template = (root / "template.yaml").read_text()
    names = re.findall(r"^  (\w+Alarm):$", template, re.M)
    for section in ("Parameters", "Outputs"):
        names += re.findall(r"^  (\w+):$", re.search(rf"^{section}:\n((?:  .*\n|\n)+)", template, re.M)[1], re.M)
    rows = "\n".join(line for line in text.split("\n") if line.startswith("|"))
    return [f"no table has `{name}`" for name in names if f"`{name}`" not in rows]


def split_parameters(root):
    """The environments in which SAM would build with other parameters than it deploys."""
    settings = tomllib.loads((root / "samconfig.toml").read_text())
    faults = [f"there is no environment {name}" for name in ("dev", "prod") if name not in settings]
    for name, commands in settings.items():
        if not isinstance(commands, dict):
            continue
        faults += [f"{name}.{command} has parameters of its own" for command, found in commands.items()
                   if command != "global" and "parameter_overrides" in found["parameters"]]
        given = commands.get("global", {}).get("parameters", {}).get("parameter_overrides", [])
        if "deploy" in commands and sum(each.startswith("Architecture=") for each in given) != 1:
            faults.append(f"{name} does not name its Architecture once")
    return faults


def main(root, here, counts):
    root, here = pathlib.Path(root), pathlib.Path(here)
    for name in ("events", "tests", "template.yaml"):
        (here / name).symlink_to(root / name)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    listed = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"], cwd=root,
                            capture_output=True, text=True, check=True).stdout.split()
    pages = {path: blocks(path, (root / path).read_text()) for path in sorted(listed) if (root / path).exists()}

    checks = Checks()
    guides = [path for path in pages if path == "README.md" or path.startswith("docs/")]
    # The first page counts what the demo workspace holds.
    for path in sorted(guides, key=lambda path: path != "README.md"):
        run_examples(checks, here, path, pages[path][0])
    for path in ("README.md", "docs/operating.md"):
        checks.check(f"{path}: a deployment uses no local AWS", deploys_elsewhere(root, here, pages[path][0]))
    for path in pages:
        checks.check(f"{path}: links", "\n".join(broken_links(root, path, pages)))
    for path, most in MOST_LINES.items():
        lines = len((root / path).read_text().splitlines())
        checks.check(f"{path}: at most {most} lines", f"it has {lines}" if lines > most else None)
    operating = "docs/operating.md"
    checks.check(f"{operating}: every parameter, output and alarm",
                 "\n".join(missing_rows(root, (root / operating).read_text())))
    checks.check("samconfig.toml: one place for parameters", "\n".join(split_parameters(root)))
    pathlib.Path(counts).write_text(f"{checks.passed} {checks.failed}\n")


main(*sys.argv[1:])
