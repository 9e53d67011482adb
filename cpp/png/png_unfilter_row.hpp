// The body of unfilter_row_128, included for each instruction set that has it: it has no include guard.

GS_TARGET static void row_128(const Layout& layout, int filter, const std::uint8_t* row, int pixels,
                              const std::uint8_t* above, std::uint8_t* out) {
    const std::ptrdiff_t bytes = std::ptrdiff_t{layout.out} * pixels;
    if (layout.pixel == layout.out && filter == kNone) {
        std::memcpy(out, row, static_cast<std::size_t>(bytes));
        return;
    }
    if (layout.pixel == layout.out && filter == kUp) {
        for (std::ptrdiff_t i = 0; i < bytes; i += 16)
            store_128(out + i, add(load_128(row + i), load_128(above + i)));
        return;
    }
    const Layout::Shuffles& shuffles = layout.shuffles;
    const Q in = load_128(shuffles.in), in_2 = load_128(shuffles.in_2);
    const Q pack = load_128(shuffles.out), spread = load_128(shuffles.above);
    const bool two_loads = layout.pixel > 4;
    Q sum = zero();  // Sub: the pixel to the left, in all lanes
    for (int x = 0; x < pixels; x += 4) {
        Q v = shuffle(load_128(row), in);
        if (two_loads) v = add(v, shuffle(load_128(row + 2 * layout.pixel), in_2));
        if (filter == kSub) {
            v = add(v, up_lanes<1>(v));
            v = add(v, up_lanes<2>(v));
            v = add(v, sum);
            sum = lane_everywhere<3>(v);
        } else if (filter == kUp) {
            v = add(v, shuffle(load_128(above), spread));
        }
        store_128(out, shuffle(v, pack));
        row += 4 * layout.pixel;
        above += 4 * layout.out;
        out += 4 * layout.out;
    }
}
