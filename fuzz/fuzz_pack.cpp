// The packer's core: images with random names, sizes, heads and rooms, from memory and from files, laid out
// in a buffer, against a plain composition of the same tar by the rules of POSIX.1-1988, and what must not be
// packed.
#include <unistd.h>

#include <cstdio>
#include <fstream>

#include "pack/pack_samples.hpp"
#include "pack/sha256.hpp"
#include "pack/tar_sample.hpp"
#include "support.hpp"

namespace {

using gs::pack::Outcome;
using gs::pack::SampleIn;
using gs::pack::SampleOut;

// A member as the standard has it: fields written one by one, the checksum summed over the finished block.
void add_member(std::string& tar, const std::string& name, const std::string& contents) {
    std::string head(512, '\0');
    const auto put = [&](std::size_t at, const std::string& text) { head.replace(at, text.size(), text); };
    char octal[16];
    put(0, name);
    put(100, "0000644");
    put(108, "0000000");
    put(116, "0000000");
    std::snprintf(octal, sizeof octal, "%011zo", contents.size());
    put(124, octal);
    put(136, "00000000000");
    put(148, "        ");
    put(156, "0");
    put(257, std::string("ustar\0"
                         "00",
                         8));
    put(329, "0000000");
    put(337, "0000000");
    unsigned sum = 0;
    for (const char c : head) sum += static_cast<unsigned char>(c);
    std::snprintf(octal, sizeof octal, "%06o", sum);
    put(148, octal);
    head[154] = '\0';
    head[155] = ' ';
    tar += head + contents;
    tar.append((512 - contents.size() % 512) % 512, '\0');
}

std::string any_name(fuzz::Parameters& p, int longest) {
    std::string name(static_cast<std::size_t>(p.between(1, longest)), 'k');
    for (int i = 0; i < 3; i++)
        name[static_cast<std::size_t>(p.word()) % name.size()] = static_cast<char>(p.byte() | 1);
    return name;
}

bool is_sound(gs::ByteView image, bool full) {
    const auto info = fuzz::info_of(image);
    if (!info || !full) return info.has_value();
    return fuzz::pixels_of(image, {0, 0, info->width, info->height}, true).has_value();
}

void check_headers(fuzz::Parameters& p) {
    std::uint8_t block[512];
    const std::uint64_t size = (std::uint64_t(p.word()) << 20 | std::uint64_t(p.word())) >> p.between(0, 5);
    const std::string name = any_name(p, 110);
    try {
        gs::pack::write_header(block, name, size);
        FUZZ_CHECK(name.size() <= 100 && size < std::uint64_t{1} << 33, "a header that needs PAX");
    } catch (const std::invalid_argument&) {
        FUZZ_CHECK(name.size() > 100 || size >= std::uint64_t{1} << 33, "refuses a plain header");
        return;
    }
    unsigned sum = 8 * ' ';
    for (std::size_t i = 0; i < 512; i++) sum += i >= 148 && i < 156 ? 0 : block[i];
    FUZZ_CHECK(std::strtoull(reinterpret_cast<const char*>(block) + 124, nullptr, 8) == size, "another size");
    FUZZ_CHECK(std::strtoul(reinterpret_cast<const char*>(block) + 148, nullptr, 8) == sum,
               "a wrong checksum");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::Parameters p(data, size, fuzz::kParameters);
    check_headers(p);
    const gs::ByteView all = p.image();
    gs::pack::Packing how;
    how.full = p.byte() % 2 != 0;
    how.limits = fuzz::options(true).limits;
    static const std::string path = "/tmp/fuzz_pack." + std::to_string(getpid());

    std::vector<SampleIn> samples;
    std::vector<gs::ByteView> images;
    std::vector<bool> changed;
    const int n = 1 + p.byte() % 3;
    std::size_t room = 0;
    for (int i = 0; i < n; i++) {
        const std::size_t cut = all.size * static_cast<std::size_t>(p.byte()) / 256;
        images.push_back(i == 0   ? all
                         : i == 1 ? gs::ByteView{all.data, cut}
                                  : gs::ByteView{all.data + cut, all.size - cut});
        SampleIn sample;
        sample.key = any_name(p, 95);
        sample.head = "{" + any_name(p, 700);
        const int flags = p.byte();
        sample.fake = flags & 1;
        sample.size = images.back().size;
        const bool off = (flags & 0xF0) == 0xF0;  // a file that is not as it was listed
        if (off) sample.size += flags & 2 ? 1 : 600;
        changed.push_back(off);
        if (flags & 4 && i == 0) {  // one file is enough to see it read
            std::ofstream file(path, std::ios::binary);
            file.write(reinterpret_cast<const char*>(all.data), static_cast<std::streamsize>(all.size));
            sample.path = path;
        } else {
            sample.bytes = images.back();
        }
        room += gs::pack::room_for(sample);
        samples.push_back(sample);
    }
    const int less = p.byte();  // sometimes too little room for the last one
    const std::size_t capacity = less % 4 == 0 ? room - std::min(room, std::size_t(less) * 8) : room;
    const std::size_t begin = less % 3 == 0 ? 512 : 0;

    std::vector<std::uint8_t> buffer(begin + capacity,
                                     0xEE);  // of exactly that size: one byte too many is found
    std::size_t used = begin;
    int cold = 0;
    const std::vector<SampleOut> outs =
        gs::pack::pack_samples(samples, how, buffer.data(), buffer.size(), used, cold);
    std::remove(path.c_str());

    std::string want(begin, '\xEE');
    FUZZ_CHECK(outs.size() <= samples.size(), "more results than samples");
    for (std::size_t i = 0; i < outs.size(); i++) {
        const SampleIn& sample = samples[i];
        const SampleOut& out = outs[i];
        const gs::Format format = gs::sniff(images[i]);
        const bool own =
            format == gs::Format::jpeg || format == gs::Format::png || format == gs::Format::unknown;
        if (out.outcome == Outcome::left) {
            FUZZ_CHECK((changed[i] || !own) && i + 1 == outs.size(), "a sample left without need");
            continue;
        }
        FUZZ_CHECK(!changed[i] && own, "took what is to be left");
        FUZZ_CHECK((out.outcome == Outcome::packed) == is_sound(images[i], how.full), "another verdict");
        if (out.outcome == Outcome::quarantined) {
            FUZZ_CHECK(!out.reason.empty(), "no reason");
            continue;
        }
        const std::string bytes(reinterpret_cast<const char*>(images[i].data), images[i].size);
        FUZZ_CHECK(out.offset == want.size() + 512, "another place");
        std::uint8_t digest[32];
        gs::pack::Message message{images[i], digest};
        gs::pack::sha256_plain(&message, 1);
        FUZZ_CHECK(std::memcmp(digest, out.digest, 32) == 0, "another digest");
        add_member(want, sample.key + (format == gs::Format::jpeg ? ".jpg" : ".png"), bytes);
        add_member(want, sample.key + ".cls", sample.fake ? "1" : "0");
        const std::string facts = gs::pack::facts_json(sample.head, out.info, sample.size, digest);
        FUZZ_CHECK(facts.size() == out.facts_size, "facts of another size");
        add_member(want, sample.key + ".json", facts);
    }
    FUZZ_CHECK(used == want.size() && used <= buffer.size(), "another size");
    FUZZ_CHECK(std::equal(want.begin(), want.end(), buffer.begin(),
                          [](char a, std::uint8_t b) { return static_cast<std::uint8_t>(a) == b; }),
               "another layout");
    if (outs.size() < samples.size() && !(outs.size() && outs.back().outcome == Outcome::left))
        FUZZ_CHECK(buffer.size() - used < gs::pack::room_for(samples[outs.size()]), "stopped with room left");
    return 0;
}
