"""`make profile`: a flame graph (SVG) of one receiver under load, written to benchmarks/profile.svg.

    python -m benchmarks.profile [--seconds 10] [--output benchmarks/profile.svg]

Opens in any browser: width is share of time, a click zooms, Ctrl-F finds. py-spy reads the receiver's memory from
outside, so the receiver runs as always; that needs the right to trace it (root, or kernel.yama.ptrace_scope=0).
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from app.demo.broker import broker
from benchmarks import receiver

OUTPUT = Path(__file__).with_name("profile.svg")
SAMPLES_A_SECOND = "250"


def main() -> int:
    """Run the receiver under load and sample it; the exit code."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=int, default=10)
    options.add_argument("--output", type=Path, default=OUTPUT)
    given = options.parse_args()
    with broker(say=print, real_only=True) as kafka, tempfile.TemporaryDirectory() as folder:
        environment = receiver.prepared(kafka.bootstrap_servers)
        with receiver.started("profiled", environment, Path(folder)) as target:
            receiver.load(target, seconds=2)
            command = [str(Path(sys.executable).with_name("py-spy")), "record", "--pid", str(target.process.pid)]
            command += ["--duration", str(given.seconds), "--rate", SAMPLES_A_SECOND, "--gil", "--output"]
            sampling = subprocess.Popen(
                [*command, str(given.output)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            )
            figures = receiver.load(target, seconds=given.seconds + 1)
            _, said = sampling.communicate()
    if sampling.returncode:
        sys.stderr.write(f"py-spy failed: {said.decode(errors='replace').strip()}\n")
        return 1
    print(f"{figures['deliveries']:,} deliveries; written to {given.output}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
