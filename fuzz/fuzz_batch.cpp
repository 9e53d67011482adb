// The batch call: up to three images with random geometry, into every kind of output, against a slow
// composition of the same window out of whole images; resizes against the plain path. Errors stay with their
// image.
#include <limits>
#include <memory>

#include "batch/batch.hpp"
#include "support.hpp"

namespace {

constexpr int kFar = std::numeric_limits<int>::max();

// Of a window: mostly within and around small images, now and then as far away as an int goes.
int corner(fuzz::Parameters& p) {
    const int word = p.word(), kind = word % 84;
    if (kind == 81) return kFar - word / 84 % 100;
    if (kind == 82) return kFar / 2 + word / 84;
    if (kind == 83) return -kFar - 1 + word / 84;
    return kind - 2;
}

struct Case {
    gs::BatchPlan plan;
    std::vector<gs::ByteView> images;
    std::vector<std::uint8_t> out;

    void place() {
        out.assign(plan.image_bytes() * images.size(), 0xEE);
        plan.out = out.data();
    }
};

Case make_case(fuzz::Parameters& p) {
    Case c;
    gs::BatchPlan& plan = c.plan;
    plan.options = fuzz::options(p.byte() % 4 != 0);
    plan.window = {p.between(1, 70), p.between(1, 70)};
    plan.element = static_cast<gs::Element>(p.byte() % 3);
    plan.small = static_cast<gs::Small>(p.byte() % 4);
    plan.filter = static_cast<gs::Filter>(p.byte() % 2);
    plan.dct_scale = p.byte() % 4 == 0;
    for (auto& value : plan.fill) value = static_cast<std::uint8_t>(p.byte());
    const int geometry = p.byte() % 4;
    const gs::ByteView all = p.image();
    const int n = 1 + p.byte() % 3;
    for (int i = 0; i < n; i++) {
        // the whole input, a beginning of it, an end of it
        const std::size_t cut = all.size * static_cast<std::size_t>(p.byte()) / 256;
        c.images.push_back(i == 0   ? all
                           : i == 1 ? gs::ByteView{all.data, cut}
                                    : gs::ByteView{all.data + cut, all.size - cut});
        const int x = corner(p);
        plan.crops.push_back({x, corner(p)});
        plan.flips.push_back(static_cast<std::uint8_t>(p.byte() % 2));
        if (geometry & 1)
            plan.boxes.push_back({static_cast<float>(p.word()) / 700 - 1,
                                  static_cast<float>(p.word()) / 700 - 1, static_cast<float>(p.word()) / 300,
                                  static_cast<float>(p.word()) / 300});
        if (geometry & 2) plan.resized.push_back({p.between(0, 150), p.between(0, 150)});
    }
    c.place();
    return c;
}

// Renders every image of the case on this thread; which failed.
std::vector<bool> render_all(Case& c) {
    std::vector<bool> failed;
    for (std::size_t i = 0; i < c.images.size(); i++) {
        try {
            gs::render(c.plan, static_cast<int>(i), c.images[i], nullptr, fuzz::workspace(), nullptr);
            failed.push_back(false);
        } catch (const gs::DecodeError&) {
            std::fill_n(c.out.begin() + static_cast<std::ptrdiff_t>(c.plan.image_bytes() * i),
                        c.plan.image_bytes(), std::uint8_t{0});
            failed.push_back(true);
        }
    }
    return failed;
}

// What gs::source_of has to say.
int slow_source(std::int64_t at, int size, gs::Small policy) {
    if (at < size) return static_cast<int>(at);
    if (policy == gs::Small::constant) return -1;
    if (policy != gs::Small::reflect) return static_cast<int>(at % size);
    const std::int64_t last = size - 1;
    const std::int64_t phase = last == 0 ? 0 : at % (2 * last);
    return static_cast<int>(std::min(phase, 2 * last - phase));
}

// The window without resizing, pixel by pixel; nothing when it is to fail.
std::optional<std::vector<std::uint8_t>> slow_window(const Case& c, std::size_t i) {
    const auto info = fuzz::info_of(c.images[i]);
    if (!info || (info->format != gs::Format::jpeg && info->format != gs::Format::png)) return std::nullopt;
    const gs::Point at = c.plan.crops[i];
    const gs::Size window = c.plan.window;
    if (at.x < 0 || at.y < 0 || (info->width >= window.width && at.x > info->width - window.width) ||
        (info->height >= window.height && at.y > info->height - window.height))
        return std::nullopt;
    const auto whole = fuzz::pixels_of(c.images[i], {0, 0, info->width, info->height}, c.plan.options.strict);
    if (!whole) return std::nullopt;
    const std::size_t plane =
        static_cast<std::size_t>(window.width) * static_cast<std::size_t>(window.height);
    std::vector<std::uint8_t> out(3 * plane);
    for (int y = 0; y < window.height; y++)
        for (int x = 0; x < window.width; x++) {
            const int sx = slow_source(std::int64_t{at.x} + x, info->width, c.plan.small);
            const int sy = slow_source(std::int64_t{at.y} + y, info->height, c.plan.small);
            const int tx = c.plan.flips[i] ? window.width - 1 - x : x;
            for (int channel = 0; channel < 3; channel++)
                out[plane * channel + static_cast<std::size_t>(window.width) * y + tx] =
                    sx < 0 || sy < 0
                        ? c.plan.fill[channel]
                        : (*whole)[std::size_t{3} * (std::size_t(info->width) * sy + sx) + channel];
        }
    return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::Parameters p(data, size, fuzz::kParameters);
    Case c = make_case(p);
    const std::vector<bool> failed = render_all(c);

    const std::vector<std::uint8_t> fast = c.out;
    for (const gs::Simd level : {gs::Simd::plain, gs::Simd::ssse3}) {
        c.place();
        // damage outside a window may be noticed by one path and not by another
        const std::vector<bool> slow = fuzz::at_level(level, [&] { return render_all(c); });
        const auto bytes = static_cast<std::ptrdiff_t>(c.plan.image_bytes());
        for (std::size_t i = 0; i < c.images.size(); i++) {
            const auto at = bytes * static_cast<std::ptrdiff_t>(i);
            if (!slow[i] && !failed[i])
                FUZZ_CHECK(std::equal(c.out.begin() + at, c.out.begin() + at + bytes, fast.begin() + at),
                           "SIMD paths differ");
        }
    }

    const bool resizes =
        !c.plan.boxes.empty() || !c.plan.resized.empty() || c.plan.small == gs::Small::resize;
    if (!resizes && c.plan.element == gs::Element::u8) {
        for (std::size_t i = 0; i < c.images.size(); i++) {
            const auto want = slow_window(c, i);
            if (!want) continue;  // a crop may be sound where the whole image is not
            FUZZ_CHECK(!failed[i], "a window of a sound image failed");
            const auto begin = fast.begin() + static_cast<std::ptrdiff_t>(c.plan.image_bytes() * i);
            FUZZ_CHECK(std::equal(want->begin(), want->end(), begin), "a window differs from the slow one");
        }
    }

    static gs::Pool pool(2);
    c.place();
    const auto batch =
        std::make_shared<gs::Batch>(c.plan, std::make_unique<gs::MemorySource>(c.images), nullptr);
    pool.submit(batch);
    while (!batch->wait(std::chrono::seconds(1))) {
    }
    FUZZ_CHECK(c.out == fast, "threads give other pixels");
    std::vector<bool> reported(c.images.size(), false);
    for (const gs::ImageFailure& failure : batch->failures(true))
        reported[static_cast<std::size_t>(failure.index)] = true;
    FUZZ_CHECK(reported == failed, "the errors of the job are not those of its images");
    return 0;
}
