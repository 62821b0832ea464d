// SPDX-License-Identifier: Apache-2.0
// Registers of the core: AXI4-Lite slave, job descriptor, status, interrupt, counters.
//
// The job registers have a second write port: the sequencer writes a descriptor of a chain there
// while jobs run, when the host's writes to them are refused.
//
// Why: the host's view of the machine. Addresses, fields and codes come from sofa_regs.vh, which
// scripts/regmap.py writes together with docs/registers.md.
// Not done here: checks of the job's values (seq), more than one transfer at a time per direction.
// Latency: a write takes effect 1 cycle after its later half was taken and is answered in the next
// one; a read is answered 3 cycles after its address was taken. Throughput: a write per 2 cycles, a
// read per 4 cycles. Events reach their counters 2 cycles late.
// Source: our decision; behaviour in docs/registers.md.

`resetall
`timescale 1ns / 1ps
`default_nettype none

`include "sofa_regs.vh"

module sofa_csr #(
    // Values that the capability registers show; nothing else depends on them.
    // Query rows in parallel, 1 or more.
    parameter ROWS = 128,
    // Keys predicted in parallel, 1 or more.
    parameter COLS = 32,
    // Largest head dimension, 1 or more.
    parameter D_MAX = 128,
    // Largest tile, 1 or more.
    parameter BC_MAX = 64,
    // Bytes of a memory beat, 1 or more.
    parameter BUS_BYTES = 64,
    // Largest number of keys, 1 or more.
    parameter KEYS_MAX = 4096,
    // Address bits, 1 or more.
    parameter ADDR_W = 40,
    // Fraction bits of a prediction term, 0 or more.
    parameter SC_FRAC = 2,
    // 1: the two-term snap rule exists; 0 or 1.
    parameter TWO_TERM = 0,
    // Score bits, 1 or more.
    parameter SC_W = 17,
    // Most blocks in residence, 1 or more.
    parameter PLACES = 8,
    // Largest model dimension, 1 or more.
    parameter H_MAX = 1024,
    // Tokens whose keys and values are made in parallel, 1 or more.
    parameter KG_TOK = 4,
    // Words of the weight memory, 1 or more.
    parameter WGT_WORDS = 768,
    // Pairs that the key prediction rotates in a cycle, 1 or more.
    parameter ROPE_PAIRS = 4,
    // Beats of Q, and of output sums, in residence, 1 or more.
    parameter STORE_BEATS = 1536,
    // 1: MODE.SORT is possible; 0 or 1.
    parameter SORT = 1,
    // Fraction bits of a threshold, 0 or more.
    parameter LOG_FRAC = 4,
    // Fraction bits of the kept share, 0 or more.
    parameter F_FRAC = 8,
    // Bits of an element of the mean of V, 1 or more.
    parameter VM_W = 8,
    // Keys in the landing buffer, 1 or more.
    parameter LAND = 64
) (
    input  wire         clk,
    input  wire         rst,

    // Interrupt, level
    output wire         irq,

    // AXI4-Lite slave
    input  wire [11:0]  s_axil_awaddr,
    input  wire [2:0]   s_axil_awprot,
    input  wire         s_axil_awvalid,
    output wire         s_axil_awready,
    input  wire [31:0]  s_axil_wdata,
    input  wire [3:0]   s_axil_wstrb,
    input  wire         s_axil_wvalid,
    output wire         s_axil_wready,
    output wire [1:0]   s_axil_bresp,
    output wire         s_axil_bvalid,
    input  wire         s_axil_bready,
    input  wire [11:0]  s_axil_araddr,
    input  wire [2:0]   s_axil_arprot,
    input  wire         s_axil_arvalid,
    output wire         s_axil_arready,
    output wire [31:0]  s_axil_rdata,
    output wire [1:0]   s_axil_rresp,
    output wire         s_axil_rvalid,
    input  wire         s_axil_rready,

    // Sequencer: pulses to it, state and result from it
    output wire         start,
    output wire         start_chain,
    output wire         soft_reset,
    input  wire         busy,
    input  wire         done,
    input  wire         job_done,
    input  wire         err_valid,
    input  wire [7:0]   err_code,
    input  wire [7:0]   err_info,
    input  wire [1:0]   err_lost,
    output wire [31:0]  timeout,

    // Descriptor of a chain: writes job register d_wr_word; only while busy
    input  wire         d_wr_valid,
    input  wire [5:0]   d_wr_word,
    input  wire [31:0]  d_wr_data,

    // Job, stable while it runs. Buffer i is `SOFA_BUF_* = i
    output wire [31:0]  job_mode,
    output wire [31:0]  job_d,
    output wire [31:0]  job_rows,
    output wire [31:0]  job_keys,
    output wire [31:0]  job_heads,
    output wire [31:0]  job_kv_heads,
    output wire [31:0]  job_offset,
    output wire [31:0]  job_bc,
    output wire [31:0]  job_quota,
    output wire [31:0]  job_band,
    output wire [31:0]  job_fall,
    output wire [31:0]  job_window,
    output wire [31:0]  job_model_dim,
    output wire [47:0]  job_next,
    output wire [`SOFA_BUFFER_NUM*48-1:0] job_base,
    output wire [`SOFA_BUFFER_NUM*32-1:0] job_stride,
    output wire [`SOFA_BUFFER_NUM*32-1:0] job_hstride,

    // What each counter grows by in this cycle, if busy. The entry of CYCLES is not looked at
    input  wire [`SOFA_CNT_NUM*`SOFA_CNT_INC_W-1:0] ev_inc
);

    localparam [1:0] OKAY = 2'b00;
    localparam [1:0] SLVERR = 2'b10;
    localparam INC_W = `SOFA_CNT_INC_W;

    // Protection bits and the bytes within a word have no meaning here.
    wire [9:0] unused_addr_bits = {s_axil_awprot, s_axil_arprot,
                                   s_axil_awaddr[1:0], s_axil_araddr[1:0]};

    // ---- Write channel ------------------------------------------------------------------------
    // Address and data are taken in any order; both together are executed when no answer waits.
    reg        aw_full_reg, w_full_reg, b_valid_reg;
    reg [9:0]  aw_word_reg;
    reg [31:0] w_data_reg;
    reg [3:0]  w_strb_reg;
    reg [1:0]  b_resp_reg;

    assign s_axil_awready = !aw_full_reg;
    assign s_axil_wready = !w_full_reg;
    assign s_axil_bvalid = b_valid_reg;
    assign s_axil_bresp = b_resp_reg;

    wire write = aw_full_reg && w_full_reg && !b_valid_reg;
    wire [11:0] w_addr = {aw_word_reg, 2'b00};
    wire [31:0] w_mask = {{8{w_strb_reg[3]}}, {8{w_strb_reg[2]}},
                          {8{w_strb_reg[1]}}, {8{w_strb_reg[0]}}};
    // Bits that a byte strobe lets through, 0 elsewhere
    wire [31:0] w_bits = w_data_reg & w_mask;

    // ---- Decoding of a write ------------------------------------------------------------------
    reg active_reg;

    wire [11:0] w_job_offset = w_addr - `SOFA_JOB_FIRST;
    wire w_job = w_addr >= `SOFA_JOB_FIRST && w_job_offset < 4 * `SOFA_JOB_NUM;
    wire w_ctrl = w_addr == `SOFA_REG_CTRL;
    wire w_irq_enable = w_addr == `SOFA_REG_IRQ_ENABLE;
    wire w_irq_status = w_addr == `SOFA_REG_IRQ_STATUS;
    wire w_timeout = w_addr == `SOFA_REG_TIMEOUT;
    wire want_start = w_bits[`SOFA_CTRL_START_LSB];
    wire want_chain = w_bits[`SOFA_CTRL_START_CHAIN_LSB];
    wire want_reset = w_bits[`SOFA_CTRL_SOFT_RESET_LSB];
    wire want_run = want_start || want_chain;
    wire want_both = (want_start && want_chain) || (want_run && want_reset);

    wire w_legal = (w_job && !active_reg)
                || (w_ctrl && !(want_run && active_reg) && !want_both)
                || w_irq_enable || w_irq_status || w_timeout;
    wire w_go = write && w_legal;
    wire w_run = w_go && w_ctrl && want_run;

    // ---- Job registers ------------------------------------------------------------------------
    wire [31:0] job [0:`SOFA_JOB_NUM-1];
    genvar i;
    generate
        for (i = 0; i < `SOFA_JOB_NUM; i = i + 1) begin : g_job
            // The high words of the addresses: of NEXT, and of the buffers, which are the last
            // registers in groups of four
            localparam HIGH = i == `SOFA_JOB_NEXT_HI
                              || (i >= `SOFA_JOB_Q_BASE_LO
                                  && (i - `SOFA_JOB_Q_BASE_LO) % 4 == 1);
            localparam W = HIGH ? 16 : 32;
            localparam [9:0] INDEX = i;
            reg [W-1:0] value_reg;
            always @(posedge clk) begin
                if (w_go && w_job && w_job_offset[11:2] == INDEX) begin
                    value_reg <= (value_reg & ~w_mask[W-1:0]) | w_bits[W-1:0];
                end
                if (d_wr_valid && d_wr_word == INDEX[5:0]) begin
                    value_reg <= d_wr_data[W-1:0];
                end
                if (rst) begin
                    value_reg <= {W{1'b0}};
                end
            end
            if (HIGH) begin : g_high
                assign job[i] = {16'd0, value_reg};
            end else begin : g_full
                assign job[i] = value_reg;
            end
        end

        for (i = 0; i < `SOFA_BUFFER_NUM; i = i + 1) begin : g_buffer
            localparam FIRST = `SOFA_JOB_Q_BASE_LO + 4 * i;
            wire [15:0] unused_high = job[FIRST+1][31:16];
            assign job_base[i*48 +: 48] = {job[FIRST+1][15:0], job[FIRST]};
            assign job_stride[i*32 +: 32] = job[FIRST+2];
            assign job_hstride[i*32 +: 32] = job[FIRST+3];
        end
    endgenerate

    assign job_mode = job[`SOFA_JOB_MODE];
    assign job_d = job[`SOFA_JOB_HEAD_DIM];
    assign job_rows = job[`SOFA_JOB_QUERY_ROWS];
    assign job_keys = job[`SOFA_JOB_KEYS];
    assign job_heads = job[`SOFA_JOB_HEADS];
    assign job_kv_heads = job[`SOFA_JOB_KV_HEADS];
    assign job_offset = job[`SOFA_JOB_CAUSAL_OFFSET];
    assign job_bc = job[`SOFA_JOB_TILE_KEYS];
    assign job_quota = job[`SOFA_JOB_QUOTA];
    assign job_band = job[`SOFA_JOB_BAND];
    assign job_fall = job[`SOFA_JOB_FALL];
    assign job_window = job[`SOFA_JOB_WINDOW];
    assign job_model_dim = job[`SOFA_JOB_MODEL_DIM];
    wire [31:0] unused_words = job[`SOFA_JOB_RESERVED_13] ^ job[`SOFA_JOB_RESERVED_14]
        ^ job[`SOFA_JOB_RESERVED_15] ^ job[`SOFA_JOB_RESERVED_16] ^ job[`SOFA_JOB_RESERVED_17];
    wire [15:0] unused_next_high = job[`SOFA_JOB_NEXT_HI][31:16];
    assign job_next = {job[`SOFA_JOB_NEXT_HI][15:0], job[`SOFA_JOB_NEXT_LO]};

    // ---- Status, interrupt --------------------------------------------------------------------
    reg start_reg, start_chain_reg, soft_reset_reg;
    reg done_reg, error_reg;
    reg [7:0] code_reg, info_reg;
    reg [1:0] lost_reg;
    reg [31:0] timeout_reg;
    reg [1:0] irq_enable_reg, irq_status_reg;
    reg irq_reg;
    reg [31:0] jobs_reg;

    assign start = start_reg;
    assign start_chain = start_chain_reg;
    assign soft_reset = soft_reset_reg;
    assign irq = irq_reg;
    assign timeout = timeout_reg;

    wire [1:0] irq_set = {err_valid, done};
    wire [1:0] irq_clear = (w_go && w_irq_status) ? w_bits[1:0] : 2'b00;

    // ---- Counters -----------------------------------------------------------------------------
    wire [31:0] count [0:`SOFA_CNT_NUM-1];
    wire [INC_W-1:0] unused_cycles = ev_inc[`SOFA_CNT_CYCLES*INC_W +: INC_W];
    generate
        for (i = 0; i < `SOFA_CNT_NUM; i = i + 1) begin : g_count
            reg [INC_W-1:0] inc_reg;
            reg [31:0] count_reg;
            wire [32:0] sum = {1'b0, count_reg} + {{33-INC_W{1'b0}}, inc_reg};
            wire [INC_W-1:0] inc;
            if (i == `SOFA_CNT_CYCLES) begin : g_cycles
                assign inc = {{INC_W-1{1'b0}}, 1'b1};
            end else begin : g_event
                assign inc = ev_inc[i*INC_W +: INC_W];
            end
            assign count[i] = count_reg;
            always @(posedge clk) begin
                inc_reg <= busy ? inc : {INC_W{1'b0}};
                if (inc_reg != {INC_W{1'b0}}) begin
                    count_reg <= sum[32] ? 32'hffffffff : sum[31:0];
                end
                if (start_reg || start_chain_reg || rst) begin
                    inc_reg <= {INC_W{1'b0}};
                    count_reg <= 32'd0;
                end
            end
        end
    endgenerate

    // ---- Read channel -------------------------------------------------------------------------
    // One cycle selects within each group of registers, the next one the group.
    reg        ar_full_reg, ar_group_reg, r_valid_reg;
    reg [9:0]  ar_word_reg;
    reg [31:0] r_data_reg;
    reg [1:0]  r_resp_reg;
    reg        hit_reg, hit_job_reg, hit_count_reg;
    reg [31:0] value_reg, value_job_reg, value_count_reg;

    assign s_axil_arready = !ar_full_reg;
    assign s_axil_rvalid = r_valid_reg;
    assign s_axil_rdata = r_data_reg;
    assign s_axil_rresp = r_resp_reg;

    wire [11:0] r_addr = {ar_word_reg, 2'b00};
    wire [11:0] r_job_offset = r_addr - `SOFA_JOB_FIRST;
    wire [11:0] r_count_offset = r_addr - `SOFA_CNT_FIRST;
    wire r_job = r_addr >= `SOFA_JOB_FIRST && r_job_offset < 4 * `SOFA_JOB_NUM;
    wire r_count = r_addr >= `SOFA_CNT_FIRST && r_count_offset < 4 * `SOFA_CNT_NUM;
    localparam JOB_W = $clog2(`SOFA_JOB_NUM);
    localparam CNT_W = $clog2(`SOFA_CNT_NUM);
    wire [31:0] r_job_value = job[r_job_offset[2 +: JOB_W]];
    wire [31:0] r_count_value = r_count ? count[r_count_offset[2 +: CNT_W]] : 32'd0;

    localparam [31:0] CAP_ROWS = ROWS;
    localparam [31:0] CAP_COLS = COLS;
    localparam [31:0] CAP_D_MAX = D_MAX;
    localparam [31:0] CAP_BC_MAX = BC_MAX;
    localparam [31:0] CAP_BUS_BYTES = BUS_BYTES;
    localparam [31:0] CAP_KEYS_MAX = KEYS_MAX;
    localparam [31:0] CAP_ADDR_W = ADDR_W;
    localparam [31:0] CAP_SC_FRAC = SC_FRAC;
    localparam [31:0] CAP_TWO_TERM = TWO_TERM;
    localparam [31:0] CAP_SC_W = SC_W;
    localparam [31:0] CAP_PLACES = PLACES;
    localparam [31:0] CAP_H_MAX = H_MAX;
    localparam [31:0] CAP_KG_TOK = KG_TOK;
    localparam [31:0] CAP_WGT_WORDS = WGT_WORDS;
    localparam [31:0] CAP_ROPE_PAIRS = ROPE_PAIRS;
    localparam [31:0] CAP_STORE_BEATS = STORE_BEATS;
    localparam [31:0] CAP_SORT = SORT;
    localparam [31:0] CAP_LOG_FRAC = LOG_FRAC;
    localparam [31:0] CAP_F_FRAC = F_FRAC;
    localparam [31:0] CAP_VM_W = VM_W;
    localparam [31:0] CAP_LAND = LAND;

    reg        r_hit;
    reg [31:0] r_value;
    always @* begin
        r_hit = 1'b1;
        r_value = 32'd0;
        case (r_addr)
            `SOFA_REG_ID:            r_value = `SOFA_ID_VALUE;
            `SOFA_REG_VERSION:       r_value = `SOFA_VERSION_VALUE;
            `SOFA_REG_CAP_ROWS:      r_value = CAP_ROWS;
            `SOFA_REG_CAP_COLS:      r_value = CAP_COLS;
            `SOFA_REG_CAP_D_MAX:     r_value = CAP_D_MAX;
            `SOFA_REG_CAP_BC_MAX:    r_value = CAP_BC_MAX;
            `SOFA_REG_CAP_BUS_BYTES: r_value = CAP_BUS_BYTES;
            `SOFA_REG_CAP_KEYS_MAX:  r_value = CAP_KEYS_MAX;
            `SOFA_REG_CAP_ADDR_W:    r_value = CAP_ADDR_W;
            `SOFA_REG_CAP_SC_FRAC:   r_value = CAP_SC_FRAC;
            `SOFA_REG_CAP_TWO_TERM:  r_value = CAP_TWO_TERM;
            `SOFA_REG_CAP_SC_W:      r_value = CAP_SC_W;
            `SOFA_REG_CAP_PLACES:    r_value = CAP_PLACES;
            `SOFA_REG_CAP_H_MAX:     r_value = CAP_H_MAX;
            `SOFA_REG_CAP_KG_TOK:    r_value = CAP_KG_TOK;
            `SOFA_REG_CAP_WGT_WORDS: r_value = CAP_WGT_WORDS;
            `SOFA_REG_CAP_ROPE_PAIRS: r_value = CAP_ROPE_PAIRS;
            `SOFA_REG_CAP_STORE_BEATS: r_value = CAP_STORE_BEATS;
            `SOFA_REG_CAP_SORT:      r_value = CAP_SORT;
            `SOFA_REG_CAP_LOG_FRAC:  r_value = CAP_LOG_FRAC;
            `SOFA_REG_CAP_F_FRAC:    r_value = CAP_F_FRAC;
            `SOFA_REG_CAP_VM_W:      r_value = CAP_VM_W;
            `SOFA_REG_CAP_LAND:      r_value = CAP_LAND;
            `SOFA_REG_CTRL:          r_value = 32'd0;
            `SOFA_REG_STATUS: begin
                r_value[`SOFA_STATUS_BUSY_LSB] = active_reg;
                r_value[`SOFA_STATUS_DONE_LSB] = done_reg;
                r_value[`SOFA_STATUS_ERROR_LSB] = error_reg;
            end
            `SOFA_REG_ERROR:         r_value = {14'd0, lost_reg, info_reg, code_reg};
            `SOFA_REG_IRQ_ENABLE:    r_value = {30'd0, irq_enable_reg};
            `SOFA_REG_IRQ_STATUS:    r_value = {30'd0, irq_status_reg};
            `SOFA_REG_JOBS:          r_value = jobs_reg;
            `SOFA_REG_TIMEOUT:       r_value = timeout_reg;
            default:                 r_hit = 1'b0;
        endcase
    end

    always @(posedge clk) begin
        if (s_axil_awvalid && s_axil_awready) begin
            aw_word_reg <= s_axil_awaddr[11:2];
        end
        if (s_axil_wvalid && s_axil_wready) begin
            w_data_reg <= s_axil_wdata;
            w_strb_reg <= s_axil_wstrb;
        end
        // unreached expr: ready is low only while the register is full
        aw_full_reg <= (aw_full_reg && !write) || (s_axil_awvalid && s_axil_awready);
        // unreached expr: likewise
        w_full_reg <= (w_full_reg && !write) || (s_axil_wvalid && s_axil_wready);
        b_valid_reg <= write || (b_valid_reg && !s_axil_bready);
        if (write) begin
            b_resp_reg <= w_legal ? OKAY : SLVERR;
        end

        start_reg <= w_run && want_start;
        start_chain_reg <= w_run && want_chain;
        soft_reset_reg <= w_go && w_ctrl && want_reset;
        if (w_go && w_irq_enable) begin
            irq_enable_reg <= (irq_enable_reg & ~w_mask[1:0]) | w_bits[1:0];
        end
        if (w_go && w_timeout) begin
            timeout_reg <= (timeout_reg & ~w_mask) | w_bits;
        end
        // An event wins over its clearing in the same cycle.
        irq_status_reg <= (irq_status_reg & ~irq_clear) | irq_set;
        irq_reg <= (irq_status_reg & irq_enable_reg) != 2'b00;

        if (done || err_valid) begin
            active_reg <= 1'b0;
            done_reg <= done;
            error_reg <= err_valid;
        end
        if (err_valid) begin
            code_reg <= err_code;
            info_reg <= err_info;
            lost_reg <= err_lost;
        end
        if (job_done) begin
            jobs_reg <= jobs_reg + 32'd1;
        end
        if (w_run) begin
            jobs_reg <= 32'd0;
            active_reg <= 1'b1;
            done_reg <= 1'b0;
            error_reg <= 1'b0;
            code_reg <= `SOFA_ERR_NONE;
            info_reg <= 8'd0;
            lost_reg <= 2'b00;
        end

        if (s_axil_arvalid && s_axil_arready) begin
            ar_word_reg <= s_axil_araddr[11:2];
        end
        ar_full_reg <= (ar_full_reg && !(s_axil_rvalid && s_axil_rready))
                       // unreached expr: likewise
                       || (s_axil_arvalid && s_axil_arready);
        // ar_full: select within the groups; ar_group: between them; then the answer waits.
        ar_group_reg <= ar_full_reg && !ar_group_reg && !r_valid_reg;
        r_valid_reg <= ar_group_reg || (r_valid_reg && !s_axil_rready);
        hit_reg <= r_hit;
        hit_job_reg <= r_job;
        hit_count_reg <= r_count;
        value_reg <= r_value;
        value_job_reg <= r_job_value;
        value_count_reg <= r_count_value;
        if (ar_group_reg) begin
            r_data_reg <= hit_job_reg   ? value_job_reg
                        : hit_count_reg ? value_count_reg
                        : hit_reg       ? value_reg
                        :                 32'd0;
            r_resp_reg <= (hit_job_reg || hit_count_reg || hit_reg) ? OKAY : SLVERR;
        end

        if (rst) begin
            aw_full_reg <= 1'b0;
            w_full_reg <= 1'b0;
            b_valid_reg <= 1'b0;
            ar_full_reg <= 1'b0;
            ar_group_reg <= 1'b0;
            r_valid_reg <= 1'b0;
            start_reg <= 1'b0;
            start_chain_reg <= 1'b0;
            soft_reset_reg <= 1'b0;
            active_reg <= 1'b0;
            done_reg <= 1'b0;
            error_reg <= 1'b0;
            code_reg <= `SOFA_ERR_NONE;
            info_reg <= 8'd0;
            lost_reg <= 2'b00;
            timeout_reg <= `SOFA_TIMEOUT_RESET;
            irq_enable_reg <= 2'b00;
            irq_status_reg <= 2'b00;
            irq_reg <= 1'b0;
            jobs_reg <= 32'd0;
        end
    end

`ifdef FORMAL
    reg started = 1'b0;
    wire [2:0] f_aw, f_w, f_ar;
    // An arbitrary register of the job
    (* anyconst *) wire [5:0] f_word;
    wire f_written = w_go && w_job && w_job_offset[11:2] == f_word;

    axil_slave_rules #(
        .ADDR_W (12),
        .LIMIT  (4),
        .DEEP   (2)
    ) rules_inst (
        .clk     (clk),
        .rst     (rst),
        .awaddr  (s_axil_awaddr),
        .awvalid (s_axil_awvalid),
        .awready (s_axil_awready),
        .wdata   (s_axil_wdata),
        .wstrb   (s_axil_wstrb),
        .wvalid  (s_axil_wvalid),
        .wready  (s_axil_wready),
        .bresp   (s_axil_bresp),
        .bvalid  (s_axil_bvalid),
        .bready  (s_axil_bready),
        .araddr  (s_axil_araddr),
        .arvalid (s_axil_arvalid),
        .arready (s_axil_arready),
        .rdata   (s_axil_rdata),
        .rresp   (s_axil_rresp),
        .rvalid  (s_axil_rvalid),
        .rready  (s_axil_rready),
        .f_aw    (f_aw),
        .f_w     (f_w),
        .f_ar    (f_ar)
    );

    always @* begin
        assume (f_word < `SOFA_JOB_NUM);
        // Descriptors of a chain come only while jobs run.
        assume (!d_wr_valid || active_reg);
    end

    always @(posedge clk) begin
        started <= 1'b1;
        if (started) begin
            // 1. Transfers that are not answered are in the slave's registers.
            assert (f_aw == aw_full_reg + b_valid_reg && f_w == w_full_reg + b_valid_reg);
            assert (f_ar == ar_full_reg && (!ar_group_reg || (ar_full_reg && !r_valid_reg)));
            assert (!r_valid_reg || ar_full_reg);
            // 2. A register of the job changes by a legal write of the host or of the chain, of
            //    which there are none and only those while jobs run.
            if ($past(!f_written && !(d_wr_valid && d_wr_word == f_word) && !rst)) begin
                assert (job[f_word] == $past(job[f_word]));
            end
            assert (!f_written || !active_reg);
            // 3. Pulses last a cycle, of the two starts and the reset at most one at a time.
            assert (start + start_chain + soft_reset <= 1);
            assert (!start || !$past(start));
            // 4. A job that runs is not started anew.
            assert (!(start || start_chain) || !$past(active_reg) || $past(rst));

            cover (start_chain);
            cover ($past(f_written) && job[f_word] == 32'h0000c0de);
            cover (irq && b_valid_reg && b_resp_reg == SLVERR);
        end
    end
`endif

endmodule

`resetall
