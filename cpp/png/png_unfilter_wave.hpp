// The body of a wave, included once for each instruction set: it has no include guard.

struct State {
    V left, left_2;  // the vectors of the last step and the one before
    V above_left;
};

// What makes a Paeth row a row of another filter.
struct Masks {
    V left, above, above_left, average;
};

// Nearest of a, b, c to a + b - c. With u = how far c lies above the lower of a and b, v = how far below the
// higher (0 when it lies beyond): the lower is nearest when u >= 2 v, the higher when v >= 2 u, else c; and
// the lower is c - u, the higher c + v wherever they are chosen.
GS_TARGET GS_INLINE V paeth_and_add(V d, V a, V b, V c) {
    const V u = sub_saturated(c, min(a, b)), v = sub_saturated(max(a, b), c);
    const V u_rest = sub_saturated(u, v), v_rest = sub_saturated(v, u);
    const V is_low = equal(max(u_rest, v), u_rest), is_high = equal(max(v_rest, u), v_rest);
    return sub(add(add(d, c), both(v, is_high)), both(u, is_low));
}

template <bool kMixed>
GS_TARGET GS_INLINE V step(V d, Q first, State& s, const Masks& m) {
    const V above = move_on(s.left_2, first);
    V result;
    if constexpr (kMixed) {
        const V a = both(s.left, m.left), b = both(above, m.above), c = both(s.above_left, m.above_left);
        const V p = paeth_and_add(d, a, b, c);
        result = add(p, both(sub(add(d, average(a, b)), p), m.average));
    } else {
        result = paeth_and_add(d, s.left, above, s.above_left);
    }
    s.left_2 = s.left;
    s.left = result;
    s.above_left = above;
    return result;
}

template <bool kMixed, bool kTwoLoads>
GS_TARGET static void wave(const Layout& layout, const Lanes<kRows>& lanes, const std::uint8_t* above,
                           int pixels) {
    const Layout::Shuffles& shuffles = layout.shuffles;
    const Q in_128 = load_128(shuffles.in), in_2_128 = load_128(shuffles.in_2);
    const V in = everywhere(in_128), in_2 = everywhere(in_2_128), pack = everywhere(load_128(shuffles.out));
    const Q spread = load_128(shuffles.above);
    Masks masks{};
    if constexpr (kMixed) {
        alignas(32) std::uint32_t filters[kRows];
        std::memcpy(filters, lanes.filter, sizeof filters);
        const V f = load(filters);
        masks.average = lane_equal(f, kAverage);
        masks.above_left = lane_equal(f, kPaeth);
        masks.above = lane_greater(f, kSub);
        masks.left = differ(lane_greater(f, kNone), lane_equal(f, kUp));
    }
    State s{zero(), zero(), zero()};
    const int steps = pixels + (kRows - 1) * kLag;
    for (int t = 0; t < steps; t += 4) {
        const std::ptrdiff_t at = std::ptrdiff_t{t} * layout.pixel, to = std::ptrdiff_t{t} * layout.out;
        V row[4];
        for (int i = 0; i < 4; i++) {
            row[i] = shuffle(load_rows(lanes.from, at, i), in);
            if constexpr (kTwoLoads)
                row[i] = add(row[i], shuffle(load_rows(lanes.from, at + 2 * layout.pixel, i), in_2));
        }
        const V low_01 = unpack_low_32(row[0], row[1]), low_23 = unpack_low_32(row[2], row[3]);
        const V high_01 = unpack_high_32(row[0], row[1]), high_23 = unpack_high_32(row[2], row[3]);
        V d[4] = {unpack_low_64(low_01, low_23), unpack_high_64(low_01, low_23),
                  unpack_low_64(high_01, high_23), unpack_high_64(high_01, high_23)};
        if (t < (kRows - 1) * kLag) {  // rows that have not begun: zeros, and so is what comes of them
            alignas(32) std::uint32_t lane[kRows];
            for (int i = 0; i < kRows; i++) lane[i] = static_cast<std::uint32_t>(-i * kLag);
            const V begun = load(lane);
            for (int i = 0; i < 4; i++) d[i] = both(d[i], lane_greater(begun, -(t + i) - 1));
        }
        const Q first = shuffle_128(load_128(above + to), spread);
        d[0] = step<kMixed>(d[0], lane_everywhere<0>(first), s, masks);
        d[1] = step<kMixed>(d[1], lane_everywhere<1>(first), s, masks);
        d[2] = step<kMixed>(d[2], lane_everywhere<2>(first), s, masks);
        d[3] = step<kMixed>(d[3], lane_everywhere<3>(first), s, masks);
        const V out_01 = unpack_low_32(d[0], d[1]), out_23 = unpack_low_32(d[2], d[3]);
        const V out_45 = unpack_high_32(d[0], d[1]), out_67 = unpack_high_32(d[2], d[3]);
        store_rows(lanes.to, to, 0, shuffle(unpack_low_64(out_01, out_23), pack));
        store_rows(lanes.to, to, 1, shuffle(unpack_high_64(out_01, out_23), pack));
        store_rows(lanes.to, to, 2, shuffle(unpack_low_64(out_45, out_67), pack));
        store_rows(lanes.to, to, 3, shuffle(unpack_high_64(out_45, out_67), pack));
    }
}

GS_TARGET static void run(const Layout& layout, const std::uint8_t* rows, std::size_t stride, int count,
                          int pixels, std::uint8_t* out, std::size_t out_stride) {
    const Lanes<kRows> lanes(layout, rows, stride, count, out, out_stride);
    const std::uint8_t* above = out - out_stride;
    if (layout.pixel > 4)
        lanes.mixed ? wave<true, true>(layout, lanes, above, pixels)
                    : wave<false, true>(layout, lanes, above, pixels);
    else
        lanes.mixed ? wave<true, false>(layout, lanes, above, pixels)
                    : wave<false, false>(layout, lanes, above, pixels);
}
