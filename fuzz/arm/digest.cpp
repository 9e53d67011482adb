// Prints a hash for each file of the given folders and each picture that it makes itself, of all that the core makes of
// them: pixels, crops, batches, crop-ready files, transforms. Two builds of the core, or two levels of vector
// instructions, agree where what is printed is the same.
//   digest LEVEL [FOLDER]...
#include <filesystem>
#include <fstream>
#include <iterator>

#include "batch/batch.hpp"
#include "pictures.hpp"
#include "recode/recode.hpp"
#include "steps.hpp"

namespace {

using fuzz::Bytes;

// FNV-1a.
struct Hash {
    std::uint64_t value = 0xCBF29CE484222325;
    void add(const void* data, std::size_t size) {
        const auto* bytes = static_cast<const std::uint8_t*>(data);
        for (std::size_t i = 0; i < size; i++) value = (value ^ bytes[i]) * 0x100000001B3;
    }
    void add(const Bytes& bytes) {
        const std::uint64_t size = bytes.size();
        add(&size, sizeof size);
        add(bytes.data(), bytes.size());
    }
    void add(const std::string& words) { add(words.data(), words.size()); }
};

void add_batches(Hash& hash, fuzz::Parameters& p, gs::ByteView bytes, const gs::ImageInfo& info) {
    static const double mean[3] = {0.485, 0.456, 0.406}, std[3] = {0.229, 0.224, 0.225};
    for (int i = 0; i < 12; i++) {
        gs::BatchPlan plan;
        plan.window = {p.between(1, 224), p.between(1, 224)};
        plan.element = static_cast<gs::Element>(i % 3);
        plan.small = static_cast<gs::Small>(p.byte() % 4);
        plan.filter = static_cast<gs::Filter>(p.byte() % 2);
        if (i % 4 < 3) plan.normalizer = gs::Normalizer(mean, std);
        plan.flips = {static_cast<std::uint8_t>(p.byte() % 2)};
        gs::Size size{info.width, info.height};
        if (i >= 6) {
            size = {p.between(1, 300), p.between(1, 300)};
            plan.resized = {size};
        }
        plan.crops = {{p.between(0, std::max(size.width - plan.window.width, 0)),
                       p.between(0, std::max(size.height - plan.window.height, 0))}};
        Bytes out(plan.image_bytes());
        plan.out = out.data();
        try {
            gs::render(plan, 0, bytes, nullptr, fuzz::workspace(), nullptr);
            hash.add(out);
        } catch (const gs::DecodeError& error) {
            hash.add(error.what());
        }
    }
}

void add_transforms(Hash& hash, fuzz::Parameters& p, const Bytes& pixels, fuzz::Size whole) {
    static gs::transform::Runner runner;
    for (int i = 0; i < 12; i++) {
        gs::transform::Steps steps;
        fuzz::Size now = whole;
        for (int n = 1 + i % 2; n > 0; n--) {
            fuzz::Made step = fuzz::any_step(p, now);
            now = step->size(now);
            steps.push_back(std::move(step));
        }
        gs::Rect window{0, 0, now.width, now.height};
        const gs::transform::Plan plan = gs::transform::plan_steps(steps, whole, &window);
        const gs::Rect& from = plan.needed.front();
        gs::Buffer memory;
        const auto canvas = gs::transform::Canvas::in(memory, from.width, from.height);
        for (int y = 0; y < from.height; y++)
            std::memcpy(canvas.row(y), pixels.data() + std::size_t{3} * ((from.y + y) * whole.width + from.x),
                        std::size_t{3} * from.width);
        const auto part =
            gs::transform::run_steps(steps, plan, {whole, from, canvas.rgb, canvas.stride}, runner);
        for (int y = 0; y < now.height; y++) hash.add(part.rgb + y * part.stride, std::size_t{3} * now.width);
    }
}

// `seed` chooses crops, windows and steps.
void print(const std::string& name, const Bytes& file, std::uint32_t seed) {
    fuzz::noise_state = seed;
    Bytes choices;
    for (int i = 0; i < 4096; i++) choices.push_back(static_cast<std::uint8_t>(fuzz::noise()));
    fuzz::Parameters p(choices.data(), choices.size(), choices.size());
    const gs::ByteView bytes{file.data(), file.size()};
    Hash decoded, batches, recoded, transformed;
    const auto info = fuzz::info_of(bytes);
    if (!info) return;
    const gs::Rect all{0, 0, info->width, info->height};
    std::string why;
    const auto whole = fuzz::pixels_of(bytes, all, true, &why);
    whole ? decoded.add(*whole) : decoded.add(why);
    for (int i = 0; i < 4; i++) {
        const auto part = fuzz::pixels_of(bytes, fuzz::any_part(p, *info), i % 2, &why);
        part ? decoded.add(*part) : decoded.add(why);
    }
    add_batches(batches, p, bytes, *info);
    for (const int level : {0, 4, 7}) {
        gs::RecodeOptions options;
        options.png.level = level;
        options.png.tiny_side = 8;
        Bytes ready;
        try {
            const char* kept = gs::make_crop_ready(bytes, options, fuzz::options(true).limits, ready);
            kept ? recoded.add(std::string(kept)) : recoded.add(ready);
        } catch (const gs::DecodeError& error) {
            recoded.add(error.what());
        }
    }
    if (whole) add_transforms(transformed, p, *whole, {info->width, info->height});
    std::printf(
        "%s %016llx %016llx %016llx %016llx\n", name.c_str(), static_cast<unsigned long long>(decoded.value),
        static_cast<unsigned long long>(batches.value), static_cast<unsigned long long>(recoded.value),
        static_cast<unsigned long long>(transformed.value));
}

}  // namespace

int main(int argc, char** argv) {
    namespace fs = std::filesystem;
    if (argc < 2) {
        std::fprintf(stderr, "usage: %s LEVEL [FOLDER]...\n", argv[0]);
        return 2;
    }
    const int level = std::atoi(argv[1]);
    gs::set_simd_level(static_cast<gs::Simd>(level));
    std::fprintf(stderr, "level %d\n", static_cast<int>(gs::simd_level()));
    std::puts("file decoded batches recoded transformed");
    std::uint32_t seed = 1;
    constexpr int kSizes[][2] = {{1, 1}, {31, 40}, {97, 61}, {272, 205}};
    for (const auto& [width, height] : kSizes) {
        const std::string size = std::to_string(width) + "x" + std::to_string(height);
        const Bytes rgb = fuzz::picture(width, height, 3);
        constexpr int kSampling[][2] = {{1, 1}, {2, 1}, {2, 2}, {1, 2}, {4, 1}};
        for (const auto& [across, down] : kSampling)
            for (const bool progressive : {false, true})
                for (const int quality : {40, 95})
                    print("jpeg " + size + " " + std::to_string(across) + std::to_string(down) + " " +
                              std::to_string(quality) + (progressive ? " progressive" : ""),
                          fuzz::as_jpeg(rgb, width, height, across, down, quality, progressive), seed++);
        print("png " + size, fuzz::as_png(rgb, width, height, PNG_FORMAT_RGB), seed++);
        print("png alpha " + size,
              fuzz::as_png(fuzz::picture(width, height, 4), width, height, PNG_FORMAT_RGBA), seed++);
        print("png gray " + size,
              fuzz::as_png(fuzz::picture(width, height, 1), width, height, PNG_FORMAT_GRAY), seed++);
    }
    std::vector<fs::path> paths;
    for (int i = 2; i < argc; i++)
        for (const auto& entry : fs::directory_iterator(argv[i])) paths.push_back(entry.path());
    std::sort(paths.begin(), paths.end());
    for (const fs::path& path : paths) {
        std::ifstream stream(path, std::ios::binary);
        Bytes file((std::istreambuf_iterator<char>(stream)), std::istreambuf_iterator<char>());
        file.resize(file.size() - std::min(file.size(), fuzz::kParameters));
        print(path.filename().string(), file, seed++);
    }
    return 0;
}
