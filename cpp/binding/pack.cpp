// The Python face of the packer's inner loop.
#include <pybind11/stl.h>

#include <string>
#include <vector>

#include "binding/common.hpp"
#include "pack/pack_samples.hpp"
#include "pack/sha256.hpp"
#include "pack/tar_sample.hpp"

namespace gs_binding {
namespace {

py::object result(const gs::pack::SampleOut& out) {
    if (out.outcome == gs::pack::Outcome::left) return py::none();
    if (out.outcome == gs::pack::Outcome::quarantined) return py::str(out.reason);
    const gs::ImageInfo& i = out.info;
    return py::make_tuple(out.offset, out.facts_size, gs::pack::hexadecimal(out.digest),
                          py::make_tuple(gs::format_name(i.format), i.mode, i.width, i.height, i.bit_depth,
                                         i.jpeg_quality, i.progressive));
}

// `samples`: (path or bytes, size, key, fake, head) each.
py::tuple pack_samples(const py::object& buffer, std::size_t used, const py::list& samples, bool full,
                       std::int64_t max_pixels, std::int64_t max_bytes) {
    const HeldBytes into(buffer.ptr(), PyBUF_WRITABLE);
    std::vector<HeldBytes> held;
    held.reserve(samples.size());
    std::vector<gs::pack::SampleIn> in(samples.size());
    for (std::size_t i = 0; i < in.size(); i++) {
        const py::tuple given = samples[i];
        const py::object source = given[0];
        if (py::isinstance<py::str>(source)) {
            in[i].path = file_path(source);
        } else {
            held.emplace_back(source.ptr());
            in[i].bytes = held.back().view();
        }
        in[i].size = given[1].cast<std::size_t>();
        in[i].key = given[2].cast<std::string>();
        in[i].fake = given[3].cast<bool>();
        in[i].head = given[4].cast<std::string>();
    }
    std::vector<gs::pack::SampleOut> outs;
    int cold = 0;
    {
        py::gil_scoped_release release;
        outs = gs::pack::pack_samples(in, {full, {max_pixels, max_bytes}}, into.writable(), into.view().size,
                                      used, cold);
    }
    py::list results;
    for (const gs::pack::SampleOut& out : outs) results.append(result(out));
    return py::make_tuple(results, used, cold);
}

std::vector<std::string> sha256_many(const py::list& messages, bool plain) {
    std::vector<HeldBytes> held;
    std::vector<gs::pack::Message> views;
    std::vector<std::uint8_t> digests(32 * messages.size());
    held.reserve(messages.size());
    for (std::size_t i = 0; i < messages.size(); i++) {
        held.emplace_back(py::object(messages[i]).ptr());
        views.push_back({held.back().view(), digests.data() + 32 * i});
    }
    {
        py::gil_scoped_release release;
        (plain ? gs::pack::sha256_plain : gs::pack::sha256)(views.data(), views.size());
    }
    std::vector<std::string> texts;
    for (std::size_t i = 0; i < views.size(); i++)
        texts.push_back(gs::pack::hexadecimal(digests.data() + 32 * i));
    return texts;
}

}  // namespace

void add_pack(py::module_& m) {
    m.def("pack_samples", &pack_samples, py::arg("buffer"), py::arg("used"), py::arg("samples"),
          py::arg("full"), py::arg("max_pixels"), py::arg("max_bytes"));
    m.def("read_soon", [](const py::list& paths) {
        std::vector<std::string> encoded;
        for (const py::handle path : paths) encoded.push_back(file_path(path));
        py::gil_scoped_release release;
        gs::pack::read_soon(encoded);
    });
    m.def("tar_header", [](const std::string& name, std::uint64_t size) {
        std::uint8_t block[gs::pack::kTarBlock];
        gs::pack::write_header(block, name, size);
        return py::bytes(reinterpret_cast<const char*>(block), sizeof block);
    });
    m.def("sha256_many", &sha256_many, py::arg("messages"), py::arg("plain") = false);
}

}  // namespace gs_binding
