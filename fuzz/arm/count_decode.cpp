// Decodes a picture of 512 x 384 pixels into a batch some times, for counting instructions; prints a checksum.
//   count_decode LEVEL KIND ELEMENT TIMES
// KIND: png, 444, 420 or progressive. ELEMENT: 0 uint8, 1 float16, 2 float32. scripts/test_arm.sh does it, see docs/decode.md.
#include "image/render.hpp"
#include "pictures.hpp"

int main(int argc, char** argv) {
    if (argc != 5) {
        std::fprintf(stderr, "usage: %s LEVEL KIND ELEMENT TIMES\n", argv[0]);
        return 2;
    }
    gs::set_simd_level(static_cast<gs::Simd>(std::atoi(argv[1])));
    const std::string kind = argv[2];
    constexpr int kWidth = 512, kHeight = 384;
    const fuzz::Bytes pixels = fuzz::picture(kWidth, kHeight, 3);
    const int sampling = kind == "444" ? 1 : 2;
    const fuzz::Bytes file =
        kind == "png" ? fuzz::as_png(pixels, kWidth, kHeight, PNG_FORMAT_RGB)
                      : fuzz::as_jpeg(pixels, kWidth, kHeight, sampling, sampling, 90, kind == "progressive");
    static const double mean[3] = {0.485, 0.456, 0.406}, std[3] = {0.229, 0.224, 0.225};
    gs::BatchPlan plan;
    plan.window = {kWidth, kHeight};
    plan.element = static_cast<gs::Element>(std::atoi(argv[3]));
    plan.normalizer = gs::Normalizer(mean, std);
    plan.crops = {{0, 0}};
    fuzz::Bytes out(plan.image_bytes());
    plan.out = out.data();
    for (int i = std::atoi(argv[4]); i > 0; i--)
        gs::render(plan, 0, {file.data(), file.size()}, nullptr, fuzz::workspace(), nullptr);
    std::uint64_t sum = 0;
    for (const std::uint8_t byte : out) sum = sum * 31 + byte;
    std::printf("%016llx\n", static_cast<unsigned long long>(sum));
    return 0;
}
