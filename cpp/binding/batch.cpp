// Batches on a pool of threads. Who owns what: a Job and its Decoder both hold the Python objects whose
// memory the threads work in, until the job is done; the threads hold no Python object at all.
//
// Python's threads may come here in parallel (without the GIL they do). The mutexes below guard what they share; within
// one neither Python code runs nor the GIL is taken or released, so that a thread that holds the GIL never waits long.
#include "batch/batch.hpp"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <list>
#include <map>
#include <mutex>

#include "binding/callbacks.hpp"
#include "binding/common.hpp"
#include "binding/steps.hpp"

namespace gs_binding {
namespace {

// The objects that a job's threads read from and write to. Dies with the GIL held.
struct Borrowed {
    py::object source, out;
    std::vector<HeldBytes> bytes;
};

class Decoder;

// Decoders with threads, to be stopped before the interpreter goes.
struct Living {
    std::mutex mutex;
    std::vector<std::weak_ptr<Decoder>> decoders;
};
Living& living() {
    static auto* all = new Living;
    return *all;
}

class Decoder {
  public:
    struct Flight {
        std::shared_ptr<gs::Batch> batch;
        std::shared_ptr<Borrowed> borrowed;
    };

    Decoder(int threads, py::object foreign)
        : pool_(threads), foreign_(std::make_shared<PythonDecoder>(std::move(foreign))) {}
    ~Decoder() { stop(); }

    static std::shared_ptr<Decoder> make(int threads, py::object foreign) {
        auto one = std::make_shared<Decoder>(threads, std::move(foreign));
        const std::lock_guard<std::mutex> lock(living().mutex);
        auto& all = living().decoders;
        all.erase(std::remove_if(all.begin(), all.end(), [](const auto& weak) { return weak.expired(); }),
                  all.end());
        all.push_back(one);
        return one;
    }

    int threads() const { return pool_.threads(); }

    void submit(const std::shared_ptr<gs::Batch>& batch, std::shared_ptr<Borrowed> borrowed) {
        drop_finished();
        const std::lock_guard<std::mutex> lock(mutex_);
        flights_.push_back({batch, std::move(borrowed)});
        try {
            pool_.submit(batch);
        } catch (...) {
            flights_.pop_back();
            throw;
        }
    }

    // Forgets a batch that is done, and with it what it borrowed.
    void land(const std::shared_ptr<gs::Batch>& batch) {
        drop_if([&](const Flight& flight) { return flight.batch == batch; });
    }

    // Waits for the images in work, cancels the rest.
    void stop() {
        std::list<Flight> flights;
        std::shared_ptr<gs::PoolState> state;
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            flights.swap(flights_);
            state = pool_.detach();
        }
        py::gil_scoped_release release;
        gs::Pool::finish(std::move(state));
    }

    std::shared_ptr<gs::ForeignDecoder> foreign() const { return foreign_; }

  private:
    void drop_finished() {
        drop_if([](const Flight& flight) {
            try {
                return flight.batch->wait(std::chrono::nanoseconds(0));
            } catch (const std::runtime_error&) {
                return false;  // from before a fork: its memory is left alone
            }
        });
    }

    // The objects of a flight may run Python code when they go: the lock is free again by then.
    template <typename Condition>
    void drop_if(Condition condition) {
        std::list<Flight> dropped;
        const std::lock_guard<std::mutex> lock(mutex_);
        for (auto at = flights_.begin(); at != flights_.end();) {
            const auto flight = at++;
            if (condition(*flight)) dropped.splice(dropped.end(), flights_, flight);
        }
    }

    std::mutex mutex_;  // of the flights, and of the pool's handle
    gs::Pool pool_;
    const std::shared_ptr<PythonDecoder> foreign_;
    std::list<Flight> flights_;
};

void stop_all() {
    std::vector<std::weak_ptr<Decoder>> all;
    {
        const std::lock_guard<std::mutex> lock(living().mutex);
        all = living().decoders;
    }
    for (const auto& weak : all)
        if (const auto decoder = weak.lock()) decoder->stop();
}

class Job {
  public:
    Job(std::shared_ptr<Decoder> decoder, std::shared_ptr<gs::Batch> batch,
        std::shared_ptr<Borrowed> borrowed)
        : decoder_(std::move(decoder)), borrowed_(std::move(borrowed)), batch_(std::move(batch)) {}

    bool wait(std::optional<double> timeout) {
        using Clock = std::chrono::steady_clock;
        // In slices, so that Ctrl-C is noticed; within one the thread sleeps until it is woken.
        constexpr std::chrono::milliseconds kSlice(100);
        const auto begin = Clock::now();
        while (!done_) {
            std::chrono::nanoseconds slice = kSlice;
            if (timeout) {
                const double left = *timeout - std::chrono::duration<double>(Clock::now() - begin).count();
                if (!(left > 0.1))
                    slice = std::chrono::nanoseconds(left > 0 ? static_cast<std::int64_t>(left * 1e9) : 0);
            }
            bool now;
            {
                py::gil_scoped_release release;
                now = batch_->wait(slice);
            }
            if (now) done_ = true;
            if (done_) break;
            if (PyErr_CheckSignals() != 0) throw py::error_already_set();
            if (timeout && std::chrono::duration<double>(Clock::now() - begin).count() >= *timeout)
                return false;
        }
        let_go();
        return true;
    }

    bool done() {
        if (!done_) done_ = batch_->wait(std::chrono::nanoseconds(0));
        if (done_) let_go();
        return done_;
    }
    void cancel() { batch_->cancel(); }
    py::list errors() {
        static const char* const kKinds[] = {"decode", "io", "cancelled"};
        py::list list;
        for (const gs::ImageFailure& failure : batch_->failures(done()))
            list.append(py::make_tuple(failure.index, kKinds[static_cast<int>(failure.kind)],
                                       shown(failure.message), failure.error));
        return list;
    }
    // [(index, bytes as uint8 array, x, y)] of the images left to another decoder. The arrays keep the
    // memory.
    py::list diverted() {
        py::list list;
        if (!done()) return list;
        const auto& all = batch_->diverted();
        for (std::size_t i = 0; i < all.size(); i++) {
            if (all[i].bytes.empty()) continue;
            const auto owner = py::capsule(new std::shared_ptr<gs::Batch>(batch_), [](void* held) {
                delete static_cast<std::shared_ptr<gs::Batch>*>(held);
            });
            list.append(
                py::make_tuple(i,
                               py::array_t<std::uint8_t>(static_cast<py::ssize_t>(all[i].bytes.size()),
                                                         all[i].bytes.data(), owner),
                               all[i].inner.x, all[i].inner.y));
        }
        return list;
    }
    py::tuple stats() const {
        return py::make_tuple(batch_->bytes_read(), batch_->read_seconds(), batch_->decode_seconds());
    }

  private:
    // Of the source and the output. What goes with them may run Python code, which may come back here: the
    // members are empty by then.
    void let_go() {
        std::shared_ptr<Borrowed> borrowed;
        std::shared_ptr<Decoder> decoder;
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            borrowed.swap(borrowed_);
            decoder.swap(decoder_);
        }
        if (decoder) decoder->land(batch_);
    }

    std::mutex mutex_;  // of the two that are let go
    std::shared_ptr<Decoder> decoder_;
    std::shared_ptr<Borrowed> borrowed_;
    const std::shared_ptr<gs::Batch> batch_;
    std::atomic<bool> done_{false};
};

template <typename T>
using Array = py::array_t<T, py::array::c_style | py::array::forcecast>;

// Everything is checked by the Python face; here only what would make memory unsafe.
template <typename T, typename U>
std::vector<T> rows_of(const py::object& object, std::size_t n, const char* name) {
    std::vector<T> rows;
    if (object.is_none()) return rows;
    const Array<U> array = object.cast<Array<U>>();
    constexpr std::size_t kColumns = sizeof(T) / sizeof(U);
    if (static_cast<std::size_t>(array.size()) != n * kColumns)
        throw std::invalid_argument(std::string(name) + " has " + std::to_string(array.size()) +
                                    " values, not " + std::to_string(n * kColumns));
    rows.resize(n);
    std::memcpy(rows.data(), array.data(), n * sizeof(T));
    return rows;
}

// Of each image the size it was planned for, and the steps of its pictures: `first` (images + 1,) says which of the
// `pictures` lists are whose. Empty where `steps` is None.
std::vector<gs::Transformed> transformed_of(const py::object& steps, const py::object& sizes,
                                            const py::object& first, std::size_t pictures) {
    std::vector<gs::Transformed> found;
    if (steps.is_none()) return found;
    const auto images = py::len(first) - 1;
    const auto firsts = rows_of<std::int32_t, std::int32_t>(first, images + 1, "first");
    const auto planned = rows_of<gs::Size, std::int32_t>(sizes, images, "sizes");
    if (planned.size() != images || py::len(steps) != pictures)
        throw std::invalid_argument("sizes have one entry per image, and steps one per picture");
    if (firsts.front() != 0 || static_cast<std::size_t>(firsts.back()) != pictures ||
        !std::is_sorted(firsts.begin(), firsts.end()))
        throw std::invalid_argument("first does not divide the pictures among the images");
    found.reserve(images);
    for (std::size_t i = 0; i < images; i++)
        found.push_back({size_of(planned[i].width, planned[i].height), {}, firsts[i]});
    std::size_t image = 0, place = 0;
    for (const py::handle list : steps) {
        while (place >= static_cast<std::size_t>(firsts[image + 1])) image++;
        found[image].pictures.push_back(steps_of(list.cast<std::vector<MadeStep>>()));
        place++;
    }
    return found;
}

std::unique_ptr<Job> submit(const std::shared_ptr<Decoder>& decoder, const py::object& source,
                            const py::object& out,
                            const std::tuple<std::uintptr_t, int, int, int, int>& where,
                            const py::object& crops, const py::object& flips, const py::object& divert,
                            const py::object& boxes, const py::object& resized, int filter, bool dct_scale,
                            int small, const std::array<int, 3>& fill,
                            std::optional<std::array<double, 3>> mean,
                            std::optional<std::array<double, 3>> std, bool strict, std::int64_t max_pixels,
                            std::int64_t max_bytes, std::int64_t memory, const py::object& steps,
                            const py::object& sizes, const py::object& first) {
    const auto [address, element, count, height, width] = where;
    std::vector<gs::Transformed> transformed =
        transformed_of(steps, sizes, first, static_cast<std::size_t>(count));
    const auto n = steps.is_none() ? static_cast<std::size_t>(count) : transformed.size();
    gs::BatchPlan plan;
    plan.window = {width, height};
    plan.element = static_cast<gs::Element>(element);
    plan.out = reinterpret_cast<std::uint8_t*>(address);
    plan.normalizer = gs::Normalizer(mean ? mean->data() : nullptr, std ? std->data() : nullptr);
    plan.crops = rows_of<gs::Point, std::int32_t>(crops, n, "crops");
    plan.crops.resize(n);
    plan.flips = rows_of<std::uint8_t, std::uint8_t>(flips, n, "flips");
    plan.divert = rows_of<std::uint8_t, std::uint8_t>(divert, n, "divert");
    plan.boxes = rows_of<gs::Box, float>(boxes, n, "boxes");
    plan.resized = rows_of<gs::Size, std::int32_t>(resized, n, "resized");
    if (steps.is_none()) plan.sizes = rows_of<gs::Size, std::int32_t>(sizes, n, "sizes");
    plan.filter = static_cast<gs::Filter>(filter);
    plan.dct_scale = dct_scale;
    plan.small = static_cast<gs::Small>(small);
    for (int c = 0; c < 3; c++) plan.fill[c] = static_cast<std::uint8_t>(fill[static_cast<std::size_t>(c)]);
    plan.options.strict = strict;
    plan.options.limits = {max_pixels, max_bytes, memory};

    auto borrowed = std::make_shared<Borrowed>();
    borrowed->source = source;
    borrowed->out = out;
    std::unique_ptr<gs::Source> from;
    if (py::isinstance<py::tuple>(source) && py::len(source) == 5 &&
        py::isinstance<gs::FileSet>(source[py::int_(0)])) {
        const auto ranges = source.cast<py::tuple>();
        const auto files = ranges[0].cast<std::shared_ptr<gs::FileSet>>();
        files->after_fork();
        const auto file = rows_of<std::int32_t, std::int32_t>(ranges[1], n, "file_index");
        const auto offset = rows_of<std::int64_t, std::int64_t>(ranges[2], n, "offset");
        const auto size = rows_of<std::int64_t, std::int64_t>(ranges[3], n, "size");
        std::vector<gs::FileSource::Range> list(n);
        for (std::size_t i = 0; i < n; i++) list[i] = {offset[i], size[i], file[i]};
        std::vector<std::string> names;
        if (!ranges[4].is_none()) names = ranges[4].cast<std::vector<std::string>>();  // of bytes
        if (!names.empty() && names.size() != n)
            throw std::invalid_argument("names are not of as many images as out");
        from = std::make_unique<gs::FileSource>(files, std::move(list), std::move(names));
    } else {
        // A tuple is an image of which only parts are there: (size, head, body, where the body begins,
        // callable that gets all of it).
        std::vector<gs::ByteView> views;
        std::map<int, gs::PartialImage> partials;
        auto whole = std::make_shared<PythonWholeImages>();
        borrowed->bytes.reserve(2 * n);  // views point into them
        const auto hold = [&](const py::handle& object) {
            return borrowed->bytes.emplace_back(object.ptr()).view();
        };
        for (const py::handle item : source) {
            if (!py::isinstance<py::tuple>(item)) {
                views.push_back(hold(item));
                continue;
            }
            const auto parts = py::reinterpret_borrow<py::tuple>(item);
            if (parts.size() != 5) throw std::invalid_argument("a partial image is a tuple of five");
            gs::PartialImage image{parts[0].cast<std::size_t>(), hold(parts[1]), hold(parts[2]),
                                   parts[3].cast<std::size_t>()};
            if (image.head.size > image.size || image.at > image.size ||
                image.body.size > image.size - image.at)
                throw std::invalid_argument("parts of an image that reach beyond its end");
            whole->add(static_cast<int>(views.size()), parts[4]);
            partials[static_cast<int>(views.size())] = image;
            views.push_back({nullptr, image.size});
        }
        if (views.size() != n) throw std::invalid_argument("source has not as many images as out");
        from = std::make_unique<gs::MemorySource>(std::move(views), std::move(partials), std::move(whole));
    }
    auto batch = std::make_shared<gs::Batch>(std::move(plan), std::move(from), decoder->foreign(),
                                             std::move(transformed));
    decoder->submit(batch, borrowed);
    return std::make_unique<Job>(decoder, std::move(batch), std::move(borrowed));
}

}  // namespace

void add_batch(py::module_& m) {
    py::class_<gs::FileSet, std::shared_ptr<gs::FileSet>>(m, "FileSet")
        .def(py::init([](const py::list& paths, int max_open, const py::list& versions) {
                 std::vector<std::string> encoded;
                 for (const py::handle path : paths) encoded.push_back(file_path(path));
                 std::vector<gs::FileVersion> known;
                 for (const py::handle version : versions) {
                     const auto facts = version.cast<std::array<std::int64_t, 3>>();
                     known.push_back({facts[0], facts[1], facts[2]});
                 }
                 if (!known.empty() && known.size() != encoded.size())
                     throw std::invalid_argument("versions are not of as many files as paths");
                 return std::make_shared<gs::FileSet>(std::move(encoded), max_open, std::move(known));
             }),
             py::arg("paths"), py::arg("max_open"), py::arg("versions"))
        .def("__len__", &gs::FileSet::count)
        .def("path",
             [](const gs::FileSet& files, int file) {
                 if (file < 0 || file >= files.count())
                     throw py::index_error("there is no file number " + std::to_string(file) +
                                           ": the set has " + std::to_string(files.count()));
                 return file_name(files.path(file));
             })
        .def_property_readonly("max_open", &gs::FileSet::max_open)
        .def_property_readonly("open_now", &gs::FileSet::open_now);

    py::class_<Job>(m, "Job")
        .def("wait", &Job::wait, py::arg("timeout"))
        .def("done", &Job::done)
        .def("cancel", &Job::cancel)
        .def("errors", &Job::errors)
        .def("diverted", &Job::diverted)
        .def("stats", &Job::stats);

    py::class_<Decoder, std::shared_ptr<Decoder>>(m, "Decoder")
        .def(py::init(&Decoder::make), py::arg("threads"), py::arg("foreign"))
        .def_property_readonly("threads", &Decoder::threads)
        .def("stop", &Decoder::stop)
        .def("submit", &submit, py::arg("source"), py::arg("out"), py::arg("where"), py::arg("crops"),
             py::arg("flips"), py::arg("divert"), py::arg("boxes"), py::arg("resized"), py::arg("filter"),
             py::arg("dct_scale"), py::arg("small"), py::arg("fill"), py::arg("mean"), py::arg("std"),
             py::arg("strict"), py::arg("max_pixels"), py::arg("max_bytes"), py::arg("memory"),
             py::arg("steps"), py::arg("sizes"), py::arg("first"));

    m.def("covering_size", [](std::array<int, 2> size, std::array<int, 2> window) {
        if (std::min({size[0], size[1], window[0], window[1]}) < 1)
            throw std::invalid_argument("sizes must be positive");
        const gs::WideSize covering = gs::covering_size({size[0], size[1]}, {window[0], window[1]});
        return std::make_tuple(covering.width, covering.height);
    });
    m.def("stop_all", &stop_all);
    py::module_::import("atexit").attr("register")(m.attr("stop_all"));
}

}  // namespace gs_binding
