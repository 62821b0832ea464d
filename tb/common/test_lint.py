# SPDX-License-Identifier: Apache-2.0
"""scripts/lint.py refuses what a user's tool would refuse."""

from scripts import lint

MODULE = """\
module {name} (input wire a, output wire b);
wire {word} = a;
assign b = {word};
endmodule
"""


def test_words_of_systemverilog_are_refused(tmp_path, monkeypatch, sim):
    """Identifiers that only SystemVerilog reserves; a module without one has no fault."""
    tool = "iverilog" if sim == "icarus" else sim
    command = lint.command
    monkeypatch.setattr(lint, "command", lambda cmd: command(cmd) if cmd[0] == tool else (0, ""))
    words = {"mask": "before", "split": "cross", "good": "crosses", "cell": "soft"}
    paths = []
    for name, word in words.items():
        paths.append(tmp_path / f"{name}.v")
        paths[-1].write_text(MODULE.format(name=f"{name}_{tool}", word=word))
    faults = lint.systemverilog(paths)
    assert set(faults) == {"mask", "split", "cell"}
    for name, lines in faults.items():
        assert f"{name}.v:2" in lines[0] and "syntax error" in lines[0]
