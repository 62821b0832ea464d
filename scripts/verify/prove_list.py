# SPDX-License-Identifier: Apache-2.0
"""The proofs of ``make prove``, as data: module, parameters, how, and the bugs that must be found.

The properties themselves stand in the modules, numbered, under `ifdef FORMAL; property sets of
buses, which several modules share, in tb/formal.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Bug:
    """A change of a source, ``old`` text to ``new``, that breaks a property within ``depth`` steps
    from reset (0: as the proof says); ``module``: that of the file, "" for the proof's own."""

    old: str
    new: str
    depth: int = 0
    module: str = ""


@dataclass(frozen=True)
class Proof:
    """A module whose properties hold.

    parameters  Verilog parameters, the others at their defaults
    mode        prove: always, by induction over ``depth`` steps and from reset; bmc: in all runs of
                ``depth`` steps from reset (1 is all there is where nothing has a clock)
    cover       steps within which a trace reaches every cover statement
    bug_depth   steps from reset within which each bug is found; 0: those of the covers
    free        modules below whose outputs may be anything: what holds then holds for all of them
    within      modules below whose own properties are shown as well, and so may be used
    label       tells proofs of a module apart
    slow        left out by --quick
    timeout     seconds of a task
    """

    module: str
    parameters: dict[str, int] = field(hash=False)
    bugs: tuple[Bug, ...]
    depth: int = 4
    cover: int = 12
    bug_depth: int = 0
    mode: str = "prove"
    free: tuple[str, ...] = ()
    within: tuple[str, ...] = ()
    label: str = ""
    slow: bool = False
    timeout: int = 400
    engine: str = "smtbmc bitwuzla"

    @property
    def name(self) -> str:
        """Of the proof; also that of its folder."""
        return self.module.removeprefix("sofa_") + (f"-{self.label}" if self.label else "")


PROOFS = (
    # ---- rtl/common ----
    Proof("sofa_skid_buffer", {"WIDTH": 8}, (
        Bug("m_data_next     = skid_valid_reg ? skid_data_reg : s_data;",
            "m_data_next     = s_data;"),
        Bug("s_ready_reg    <= !skid_valid_next;", "s_ready_reg    <= 1'b1;"),
    )),
    *(Proof("sofa_sync_fifo", {"WIDTH": 8, "DEPTH": depth}, (
        Bug("(level_next > ONE_LEVEL[LEVEL_W-1:0])", "(level_next >= ONE_LEVEL[LEVEL_W-1:0])"),
        Bug("m_data_reg <= more_reg ? mem[rd_ptr_reg] : s_data;",
            "m_data_reg <= level_reg > ONE_LEVEL ? s_data : mem[rd_ptr_reg];"),
        Bug("level_next != FULL_LEVEL[LEVEL_W-1:0]", "level_next < FULL_LEVEL[LEVEL_W-1:0] - 1'b1"),
    ), cover=depth + 6, label=f"{depth}", slow=depth > 8) for depth in (2, 3, 4, 7, 16)),
    Proof("sofa_owed_count", {"WIDTH": 9}, (
        Bug("carry  = add && !take;", "carry  = add;"),
        Bug("some_reg  <= left || add;", "some_reg  <= left;"),
    )),
    *(Proof("sofa_popcount", {"WIDTH": width}, (
        Bug("64'h0f0f0f0f0f0f0f0f) + ((s4 >> 4)", "64'h0f0f0f0f0f0f0f0f) + ((s4 >> 3)"),
    ), depth=1, cover=1, mode="bmc", label=f"{width}", slow=width > 32)
      for width in (8, 24, 64)),
    *(Proof("sofa_find_first", {"WIDTH": width}, (
        Bug("upper ? in[2*HALF-1:HALF] : in[HALF-1:0]", "upper ? in[HALF-1:0] : in[2*HALF-1:HALF]"),
    ), depth=1, cover=1, mode="bmc", label=f"{width}") for width in (8, 256)),
    *(Proof("sofa_lane_rotate", {"LANES": lanes, "OUT": out, "WIDTH": width, "LEFT": left}, (
        Bug("{from[BY-1:0], from[ROW_W-1:BY]}",
            "{from[ROW_W-BY-1:0], from[ROW_W-1:ROW_W-BY]}"),
    ), depth=1, cover=1, mode="bmc", label=f"{lanes}x{out}{'l' if left else ''}")
      for lanes, out, width, left in ((4, 4, 3, 0), (16, 4, 8, 0), (32, 32, 8, 0), (8, 8, 8, 1),
                                      (16, 4, 8, 1))),
    Proof("sofa_times_digit", {"WIDTH": 32}, (
        Bug("3'd5:    product = once + (once << 2);", "3'd5:    product = once + (once << 1);"),
    ), depth=1, cover=1, mode="bmc"),
    *(Proof("sofa_mult_digits", {"B_W": width, "B_SIGNED": signed}, (
        Bug("wire [D_W-1:0] minus = x2 & ~(x1 & x0) & EVEN;",
            "wire [D_W-1:0] minus = x2 & EVEN & ~x1;"),
    ), depth=1, cover=1, mode="bmc", label=f"{width}{'s' if signed else 'u'}")
      for width, signed in ((16, 1), (16, 0), (32, 1))),
    *(Proof("sofa_mult_rows", {"A_W": a, "DIGITS": digits, "HALF": half}, (
        Bug("{1'b0, d & m, 1'b0};", "{1'b0, d & m, 1'b1};"),
        Bug("HALF != 0 ? HALF_ONE", "HALF == 0 ? HALF_ONE"),
    ), depth=1, cover=1, mode="bmc", label=f"{a}x{digits}{'h' if half else ''}")
      for a, digits, half in ((4, 3, 0), (6, 3, 0), (6, 3, 1))),
    *(Proof("sofa_mult_tree", {"A_W": a, "DIGITS": digits, "HALF": half}, (
        Bug("{1'b0, part[LAST*M_W +: LOW]} + {{LOW{1'b0}}, minus[LAST]}",
            "{1'b0, part[LAST*M_W +: LOW]}"),
        Bug("HALF != 0, minus[i-1]", "HALF == 0, minus[i-1]"),
    ), depth=1, cover=1, mode="bmc", within=("sofa_add_tree",),
       label=f"{a}x{digits}{'h' if half else ''}")
      for a, digits, half in ((4, 3, 0), (6, 3, 0), (6, 3, 1), (16, 8, 0), (16, 9, 0), (16, 9, 1))),
    *(Proof("sofa_add_rows", {"IN": n, "W": w, "OUT": out}, (
        Bug("total = total + rows[i*W +: W];", "total = total + rows[i*W +: W-1];"),
    ), depth=1, cover=1, mode="bmc", label=f"{n}x{w}") for n, w, out in ((4, 8, 2), (9, 34, 2))),
    *(Proof("sofa_add_tree", {"IN": n, "W": w, "OUT": out}, (
        Bug("((x & y) | (z & (x | y))) << 1", "((x & y) | (z & (x ^ ~y))) << 1"),
    ), depth=1, cover=1, mode="bmc", label=f"{n}x{w}")
      for n, w, out in ((3, 40, 2), (4, 8, 2), (5, 7, 3), (8, 32, 2), (16, 34, 2))),
    Proof("sofa_ram_1r1w", {"WIDTH": 4, "DEPTH": 6}, (
        Bug("rd_data_reg <= mem[rd_addr];",
            "rd_data_reg <= wr_en && wr_addr == rd_addr ? wr_data : mem[rd_addr];"),
    )),
    *(Proof("sofa_corner_buffer", {"LANES": 4, "ELEMS": 6, "WIDTH": 2, "BEAT": beat, "BUFS": bufs,
                                   "ROTATE": rotate}, (
        Bug("bank = elem[LANE_W-1:0] + wr_lane;", "bank = elem[LANE_W-1:0] - wr_lane;"),
    ), depth=9, cover=9, mode="bmc", label=f"{beat}{bufs}{rotate}")
      for beat, bufs, rotate in ((1, 1, 1), (2, 2, 1), (4, 3, 0))),
    *(Proof("sofa_burst_split", {"ADDR_W": 16, "BUS_BYTES": bus}, (
        Bug("last    = index + {2'b00, more};", "last    = index + {2'b00, s_beats};"),
        Bug("second_next  = !start_end;", "second_next  = crosses;"),
        Bug("m_valid_next = m_valid_reg && !m_ready;", "m_valid_next = 1'b0;"),
    ), label=f"{bus}") for bus in (8, 64)),
    # ---- rtl/dlzs, rtl/sads, rtl/sufa: arithmetic and selection ----
    *(Proof("sofa_dlzs_encode", {"TWO_TERM": two}, (
        Bug("up = snap == SNAP_NEAREST && next;", "up = snap != 2'd0 && next;"),
        Bug("wire        more  = sign && |(lead & moves);", "wire        more  = 1'b0;"),
    ), depth=1, cover=1, mode="bmc", label=f"{two}") for two in (0, 1)),
    *(Proof("sofa_dlzs_cell", {"TWO_TERM": two, "SC_FRAC": frac, "SC_W": 12 + frac}, (
        Bug("{LOW{by[4]}}};", "{LOW{1'b0}}};"),
        Bug("& {SC_W{|by[3:0]}}", "& {SC_W{|by[4:0]}}"),
    ), depth=3, cover=6, label=f"{two}{frac}") for two, frac in ((0, 2), (1, 3), (1, 8))),
    *(Proof("sofa_sads_core", {"SC_W": score, "SLOT_W": slot}, (
        Bug("> {!scores[y*SC_W + SC_W-1]", ">= {!scores[y*SC_W + SC_W-1]"),
        Bug("(!valid[y] || above[4*x + y])", "above[4*x + y]"),
        Bug("from_b = from_b && a_wins[4*(y - 1) + x];", "from_b = from_b && a_wins[4*(y - 1)];"),
    ), depth=3, cover=9, label=f"{score}", slow=score > 4)
      for score, slot in ((3, 5), (17, 6))),
    Proof("sofa_sads_sum_limit", {"LANES": 1, "SUM_FRAC": 6, "SUM_W": 13, "RATIO_FRAC": 4,
                                  "RATIO_W": 5, "LOG_FRAC": 2}, (
        Bug("reach[LOG_FRAC +: 7] & {7{!reach[LOG_W-1]}}", "reach[LOG_FRAC +: 7]"),
        Bug("assign sum[0]   = OWN;", "assign sum[0]   = OWN >> RATIO_FRAC;"),
        Bug("norm[SUM_W-2 -: LOG_FRAC]", "norm[SUM_W-1 -: LOG_FRAC]"),
    ), depth=10, cover=10, mode="bmc"),
    Proof("sofa_sufa_div", {"L_W": 28}, (
        Bug("{rem[i][14:0], 1'b0}", "{rem[i][14:0], 1'b1}", depth=8),
        Bug("{quo[i][13:0], one}", "{quo[i][13:0], !one}", depth=8),
        Bug("l_top = top >> place;", "l_top = top >> (place & 2'd2);", depth=8),
    ), depth=3, cover=22),
    Proof("sofa_sufa_exp", {"ALL": 4, "SD_W": 28, "L_W": 20}, (
        Bug("above = !rise_5_reg[17] && |rise_5_reg[16:1];",
            "above = !rise_5_reg[17] && |rise_5_reg[16:0];"),
        Bug("p = cut[16:1] + {15'd0, cut[0]};", "p = cut[16:1];"),
        Bug("l_rd >> dm_10_reg", "l_rd >> dm_9_reg"),
    ), depth=17, cover=18, mode="bmc", slow=True),
    # ---- rtl/fetch ----
    Proof("sofa_fetch_arb", {}, (
        Bug("behind_next = ~(pick | (pick - 7'd1));", "behind_next = ~(pick - 7'd1);"),
        Bug("k8_later && !q_later && req[0] && k8_age_reg != AGE", "k8_later && !q_later && req[0]",
            depth=20),
    ), cover=18),
    Proof("sofa_ring_credit", {}, (
        Bug("avail_next = used_reg < {1'b0, last};", "avail_next = used_reg <= {1'b0, last};"),
        Bug("avail_next = 1'b1;", "avail_next = used_reg <= {1'b0, last};"),
    )),
    Proof("sofa_axi_read_track", {"OUTSTANDING": 8}, (
        Bug("assign last   = beat_reg == beats - 8'd1;", "assign last   = beat_reg == beats;"),
        Bug("full_reg   <= level_next == LIMIT[PTR_W:0];",
            "full_reg   <= level_reg == LIMIT[PTR_W:0];"),
    ), cover=20),
    Proof("sofa_fetch_stream", {"ADDR_W": 32, "BUS_BYTES": 8, "DEPTH": 4}, (
        Bug("room_next = room_reg - 1'b1;", "room_next = room_reg - d_valid_reg;"),
        Bug("go && cur_left_reg == 16'd1", "go && cur_left_reg <= 16'd2"),
        Bug("rd_en = some_word_reg && (!d_valid_reg || d_ready);", "rd_en = some_word_reg;"),
    ), cover=16),
    # ---- Buses ----
    Proof("sofa_csr", {}, (
        Bug("write = aw_full_reg && w_full_reg && !b_valid_reg;",
            "write = aw_full_reg && w_full_reg;"),
        Bug("r_valid_reg <= ar_group_reg || (r_valid_reg && !s_axil_rready);",
            "r_valid_reg <= ar_group_reg || r_valid_reg;"),
        Bug("(w_job && !active_reg)", "w_job"),
    ), depth=6, cover=14),
    Proof("sofa_axi_read", {"ADDR_W": 16, "BUS_BYTES": 8, "OUTSTANDING": 4, "META_W": 2}, (
        Bug("m_axi_rvalid && owed[m_axi_rid]", "m_axi_rvalid"),
        Bug(".s_beats   (ask_beats)", ".s_beats   (ask_beats + 8'd1)"),
        Bug(".hold      (halt)", ".hold      (1'b0)"),
    ), depth=11, cover=14, mode="bmc"),
    Proof("sofa_axi_write", {"ADDR_W": 16, "BUS_BYTES": 8, "OUTSTANDING": 4, "X_OUTSTANDING": 4}, (
        Bug("burst_end = beat_reg == owe_len;", "burst_end = beat_reg >= owe_len || have_x_reg;"),
        Bug("x_rd_ptr_next   = x_rd_en ?", "x_rd_ptr_next   = owe_rd ?"),
        Bug("answer_x = m_axi_bvalid && m_axi_bid == 3'd1 && x_owed",
            "answer_x = m_axi_bvalid && m_axi_bid == 3'd1"),
    ), depth=11, cover=14, mode="bmc"),
    # ---- Control ----
    Proof("sofa_sufa_issue", {}, (
        Bug("near_next = {h_same, c_start && c_idx_reg == b_idx_reg};",
            "near_next = {{(HAZARD - 2){1'b0}}, c_start && c_idx_reg == b_idx_reg};"),
        Bug("f_first = !f_busy_reg && fin_req && !(|went_reg);",
            "f_first = !f_busy_reg && fin_req;"),
        Bug("!c_valid_reg || !c_last_beat || wait_reg",
            "!c_valid_reg || !c_last_beat || cfg_c == ONE"),
    ), depth=5, cover=14),
    Proof("sofa_seq", {}, (
        Bug("if (wait_reg == 4'd15 || (soft_reset && abort_reg)) begin",
            "if (wait_reg == 4'd15 && soft_reset) begin", depth=45),
        Bug("walk_next = chk_code == `SOFA_ERR_NONE;", "walk_next = 1'b1;"),
        Bug("code_next = `SOFA_ERR_READ_TIMEOUT;\n                info_next = {6'd0, rd_wait};\n"
            "                state_next = S_HALT;",
            "code_next = `SOFA_ERR_READ_TIMEOUT;\n                info_next = {6'd0, rd_wait};\n"
            "                state_next = S_ERROR;"),
    ), depth=14, cover=44, free=("sofa_seq_chain", "sofa_seq_check", "sofa_seq_walk",
                                "sofa_seq_keys", "sofa_seq_codes")),
    Proof("sofa_seq_timeout", {}, (
        Bug("count_reg >= limit", "count_reg > limit"),
        Bug("waiting && !move", "waiting"),
    )),
    Proof("sofa_seq_chain", {"BUS_BYTES": 64}, (
        Bug("data_next = data_reg >> 32;", "data_next = data_reg >> 16;"),
        Bug("left_next = left_reg - 5'd1;", "left_next = left_reg - 5'd2;"),
    ), depth=4, cover=78, bug_depth=12, slow=True),
    Proof("sofa_seq_chunks", {"ROWS": 4}, (
        Bug("if (left_reg == 11'd1) begin", "if (left_reg == 11'd0) begin"),
        Bug("if (full_more > ROWS[8:0]) begin", "if (full_more > ROWS[8:0] + 9'd4) begin"),
        Bug("fit_next = 5'd1;", "fit_next = 5'd0;"),
    ), depth=4, cover=14),
)
"""In the order of the blocks: cells, arithmetic, selection, buses, control."""
