// matmul_pairs.S - two rows of activations against the 16 weight rows of a
// block: the inner loop of matmul_pairs.c, in WASM relaxed SIMD.
//
//   void matmul_pairs_run(int32_t acc[2][16], const uint8_t *w,
//                         const uint8_t *m, const struct matmul_panel *panel,
//                         uint32_t row, const int32_t *corr, uint32_t n,
//                         const int8_t *q)
//
// adds (dot * m) >> shift of `row` and row + 1 of the panels to acc, over all n
// (at least 1) groups. w and m are the block's; corr and q, which are read
// where a group is wide, are the first row's, and the second row's follow.
//
// It is written out because order is everything here: V8 keeps the order it is
// given and has 15 registers, and from C the compiler makes each sum's chain of
// products in one piece, which takes all of a part's weights at once and spills
// (measured: a fifth of the speed); and it adds to addresses what V8 would have
// had for nothing in the loads.
//
// Parameters, then locals:
//    0 acc   1 w   2 m   3 panel, then wide: panel + row   4 row   5, 6 corr of
//    the two rows' groups   7, 8 their q   9 q of panels: panel + 16 * row
//   10 fix, shift: panel + 4 * row   11 groups left   12, 13 shifts of the rows
//   14..17 sums in 16 bits of the first row, by four weight rows, 18..21 of the
//   second, 22..29 the same in 32 bits, 30, 31 four columns of each row,
//   32 weights or scratch, 33 ones, 34, 35 mantissas 0..7 and 8..15

	.altmacro

// Instructions whose operand may be computed: get %(14 + \v).
	.macro get i
	local.get	\i
	.endm
	.macro set i
	local.set	\i
	.endm
	.macro load at
	v128.load	\at:p2align=4
	.endm
	.macro load_splat at
	v128.load32_splat	\at:p2align=2
	.endm
	.macro store at
	v128.store	\at:p2align=4
	.endm

// Adds the products of row's four columns with the weights to 16-bit sums.
	.macro product sum, row
	local.get	\sum
	local.get	\row
	local.get	32
	i16x8.relaxed_dot_i8x16_i7x16_s
	i16x8.add
	local.set	\sum
	.endm

// The same to 32-bit ones.
	.macro product_wide sum, row
	local.get	\sum
	local.get	\row
	local.get	32
	i16x8.relaxed_dot_i8x16_i7x16_s
	local.get	33
	i32x4.dot_i16x8_s
	i32x4.add
	local.set	\sum
	.endm

	.macro weights at
	local.get	1
	load	\at
	local.set	32
	.endm

// Four columns of each row.
	.macro columns first, at, second, second_at
	local.get	\first
	load_splat	\at
	local.set	30
	local.get	\second
	load_splat	\second_at
	local.set	31
	.endm

// Four columns of both rows with the weights at w: to the sums from \sums on, by
// the macro `product`.
	.macro quad w, product, sums
	.irp	v, 0, 1, 2, 3
	weights	%(\w + 16 * \v)
	\product	%(\sums + \v), 30
	\product	%(\sums + 4 + \v), 31
	.endr
	.endm

// The sums of row \r, 16 bits wide, begin as its fix.
	.macro begin r, part
	local.get	10
	load_splat	%(160 * \part + 128 + 4 * \r)
	local.tee	32
	set	%(14 + 4 * \r)
	.irp	v, 1, 2, 3
	local.get	32
	set	%(14 + 4 * \r + \v)
	.endr
	.endm

	.macro widen i, part
	.if	\part
	get	%(22 + \i)
	.endif
	get	%(14 + \i)
	local.get	33
	i32x4.dot_i16x8_s
	.if	\part
	i32x4.add
	.endif
	set	%(22 + \i)
	.endm

// A quarter of the group: 16 columns.
	.macro quarter part
	begin	0, \part
	begin	1, \part
	.irp	k, 0, 1, 2, 3
	columns	9, %(160 * \part + 4 * \k), 9, %(160 * \part + 4 * \k + 16)
	quad	%(256 * \part + 64 * \k), product, 14
	.endr
	.irp	i, 0, 1, 2, 3, 4, 5, 6, 7
	widen	\i, \part
	.endr
	.endm

// The whole group, for any; the sums of row \r begin as -corr.
	.macro begin_wide r
	i32.const	0
	get	%(5 + \r)
	i32.load	0:p2align=2
	i32.sub
	i32x4.splat
	local.tee	32
	set	%(22 + 4 * \r)
	.irp	v, 1, 2, 3
	local.get	32
	set	%(22 + 4 * \r + \v)
	.endr
	.endm

	.macro quarter_wide part
	.irp	k, 0, 1, 2, 3
	columns	7, %(16 * \part + 4 * \k), 8, %(16 * \part + 4 * \k)
	quad	%(256 * \part + 64 * \k), product_wide, 22
	.endr
	.endm

// Adds row \r's scaled sums of weight rows 4 * \v and on to acc.
	.macro scaled r, v
	local.get	0
	local.get	0
	load	%(64 * \r + 16 * \v)
	get	%(22 + 4 * \r + \v)
	local.get	32
	i32x4.mul
	get	%(12 + \r)
	i32x4.shr_s
	i32x4.add
	store	%(64 * \r + 16 * \v)
	.endm

	.macro scale v, mantissas, half
	local.get	\mantissas
	i32x4.extend_\half\()_i16x8_u
	local.set	32
	scaled	0, \v
	scaled	1, \v
	.endm

	.macro step pointer, by
	local.get	\pointer
	i32.const	\by
	i32.add
	local.set	\pointer
	.endm

// \to = panel + \times * row
	.macro place to, times
	local.get	4
	i32.const	\times
	i32.mul
	local.get	3
	i32.add
	local.set	\to
	.endm

	.section	.text.matmul_pairs_run,"",@
	.hidden	matmul_pairs_run
	.globl	matmul_pairs_run
	.type	matmul_pairs_run,@function
matmul_pairs_run:
	.functype	matmul_pairs_run (i32, i32, i32, i32, i32, i32, i32, i32) -> ()
	.local	i32, i32, i32, i32, i32, i32, v128, v128, v128, v128, v128, v128, v128, v128, v128, v128, v128, v128, v128, v128, v128, v128, v128, v128, v128, v128, v128, v128
	local.get	6
	local.set	11
	local.get	6
	i32.const	64
	i32.mul
	local.get	7
	i32.add
	local.set	8
	local.get	6
	i32.const	4
	i32.mul
	local.get	5
	i32.add
	local.set	6
	place	9, 16
	place	10, 4
	place	3, 1
	i32.const	1
	i16x8.splat
	local.set	33
	loop
	local.get	3
	i32.load16_u	672:p2align=0
	if
	begin_wide	0
	begin_wide	1
	.irp	part, 0, 1, 2, 3
	quarter_wide	\part
	.endr
	else
	.irp	part, 0, 1, 2, 3
	quarter	\part
	.endr
	end_if

	local.get	2
	i16x8.load8x8_u	0:p2align=3
	local.set	34
	local.get	2
	i16x8.load8x8_u	8:p2align=3
	local.set	35
	local.get	10
	i32.load	640:p2align=2
	local.set	12
	local.get	10
	i32.load	644:p2align=2
	local.set	13
	scale	0, 34, low
	scale	1, 34, high
	scale	2, 35, low
	scale	3, 35, high

	step	1, 1024
	step	2, 16
	step	3, 680
	step	5, 4
	step	6, 4
	step	7, 64
	step	8, 64
	step	9, 680
	step	10, 680
	step	11, -1
	local.get	11
	br_if	0
	end_loop
	end_function
