// JPEG: crops against the whole image, strict against lenient, and never anything worse than a DecodeError.
#include "support.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::Parameters p(data, size, fuzz::kParameters);
    if (gs::sniff(p.image()) == gs::Format::jpeg) fuzz::check_decoder(p);
    return 0;
}
