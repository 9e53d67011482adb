#include "jpeg/jpeg_memory.hpp"

#include <jerror.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>

// libjpeg declares these two and leaves them to the memory manager to define. Everything is held in memory,
// so that they need no more than the rows.
struct jvirt_sarray_control {
    JSAMPARRAY rows;
    JDIMENSION height;
};

struct jvirt_barray_control {
    JBLOCKARRAY rows;
    JDIMENSION height;
};

namespace gs {
namespace {

// The alignment that libjpeg-turbo's own manager promises to its SIMD code is 32 bytes, and it rounds rows up
// to twice that, because the SIMD code reads and writes whole vectors.
constexpr std::size_t kAlign = 64;
constexpr std::size_t kHeader = kAlign;
constexpr std::size_t kFirstBlock = std::size_t{256} << 10;

std::size_t round_up(std::size_t size, std::size_t to) {
    return (size + to - 1) / to * to;
}

}  // namespace

JpegMemory::JpegMemory() : face_{} {
    jpeg_memory_mgr& m = face_.methods;
    m.alloc_small = &allocate;
    m.alloc_large = &allocate;
    m.alloc_sarray = &allocate_samples;
    m.alloc_barray = &allocate_blocks;
    m.request_virt_sarray = &request_samples;
    m.request_virt_barray = &request_blocks;
    m.realize_virt_arrays = &realize;
    m.access_virt_sarray = &access_samples;
    m.access_virt_barray = &access_blocks;
    m.free_pool = &free_pool;
    m.self_destruct = &self_destruct;
    m.max_memory_to_use = 0;
    m.max_alloc_chunk = 1000000000L;
    face_.owner = this;
}

JpegMemory::~JpegMemory() {
    for (Pool& pool : pools_) free_blocks(pool);
}

void JpegMemory::adopt(j_common_ptr cinfo) {
    original_ = cinfo->mem;
    cinfo->mem = &face_.methods;
}

void JpegMemory::release(j_common_ptr cinfo) {
    cinfo->mem = original_;
}

JpegMemory& JpegMemory::of(j_common_ptr cinfo) {
    return *reinterpret_cast<Face*>(cinfo->mem)->owner;
}

void* JpegMemory::allocate(j_common_ptr cinfo, int pool_id, std::size_t bytes) {
    if (pool_id < 0 || pool_id >= JPOOL_NUMPOOLS) ERREXIT1(cinfo, JERR_BAD_POOL_ID, pool_id);
    Pool& pool = of(cinfo).pools_[pool_id];
    const std::size_t need = round_up(std::max<std::size_t>(bytes, 1), kAlign);
    if (need < bytes) ERREXIT1(cinfo, JERR_OUT_OF_MEMORY, 0);
    Block* block = pool.current;
    while (block != nullptr && block->size - block->used < need) block = block->next;
    if (block == nullptr) {
        const std::size_t size = std::max({need, kFirstBlock, std::min(pool.total, std::size_t{8} << 20)});
        block = static_cast<Block*>(std::aligned_alloc(kAlign, kHeader + size));
        if (block == nullptr) ERREXIT1(cinfo, JERR_OUT_OF_MEMORY, 1);
        block->next = nullptr;
        block->size = size;
        block->used = 0;
        pool.total += size;
        Block** end = &pool.first;
        while (*end != nullptr) end = &(*end)->next;
        *end = block;
        if (pool.current == nullptr) pool.current = block;
    }
    void* result = reinterpret_cast<std::uint8_t*>(block) + kHeader + block->used;
    block->used += need;
    return result;
}

JSAMPARRAY JpegMemory::allocate_samples(j_common_ptr cinfo, int pool, JDIMENSION width, JDIMENSION rows) {
    const std::size_t stride = round_up(width, 2 * kAlign);
    auto* list = static_cast<JSAMPARRAY>(allocate(cinfo, pool, std::size_t{rows} * sizeof(JSAMPROW)));
    auto* data = static_cast<JSAMPROW>(allocate(cinfo, pool, stride * rows + kAlign));
    for (JDIMENSION i = 0; i < rows; i++) list[i] = data + stride * i;
    return list;
}

JBLOCKARRAY JpegMemory::allocate_blocks(j_common_ptr cinfo, int pool, JDIMENSION width, JDIMENSION rows) {
    auto* list = static_cast<JBLOCKARRAY>(allocate(cinfo, pool, std::size_t{rows} * sizeof(JBLOCKROW)));
    auto* data = static_cast<JBLOCKROW>(allocate(cinfo, pool, sizeof(JBLOCK) * width * rows));
    for (JDIMENSION i = 0; i < rows; i++) list[i] = data + std::size_t{width} * i;
    return list;
}

// Virtual arrays are real from the start: libjpeg only asks that access fails before realize_virt_arrays, and
// nothing here depends on that.
jvirt_sarray_ptr JpegMemory::request_samples(j_common_ptr cinfo, int pool, boolean pre_zero, JDIMENSION width,
                                             JDIMENSION rows, JDIMENSION) {
    auto* array = static_cast<jvirt_sarray_ptr>(allocate(cinfo, pool, sizeof(jvirt_sarray_control)));
    array->rows = allocate_samples(cinfo, pool, width, rows);
    array->height = rows;
    if (pre_zero)
        for (JDIMENSION i = 0; i < rows; i++) std::memset(array->rows[i], 0, width);
    return array;
}

jvirt_barray_ptr JpegMemory::request_blocks(j_common_ptr cinfo, int pool, boolean pre_zero, JDIMENSION width,
                                            JDIMENSION rows, JDIMENSION) {
    auto* array = static_cast<jvirt_barray_ptr>(allocate(cinfo, pool, sizeof(jvirt_barray_control)));
    array->rows = allocate_blocks(cinfo, pool, width, rows);
    array->height = rows;
    if (pre_zero && rows > 0) std::memset(array->rows[0], 0, sizeof(JBLOCK) * width * rows);
    return array;
}

void JpegMemory::realize(j_common_ptr) {}

JSAMPARRAY JpegMemory::access_samples(j_common_ptr cinfo, jvirt_sarray_ptr array, JDIMENSION first,
                                      JDIMENSION rows, boolean) {
    if (first > array->height || rows > array->height - first) ERREXIT(cinfo, JERR_BAD_VIRTUAL_ACCESS);
    return array->rows + first;
}

JBLOCKARRAY JpegMemory::access_blocks(j_common_ptr cinfo, jvirt_barray_ptr array, JDIMENSION first,
                                      JDIMENSION rows, boolean) {
    if (first > array->height || rows > array->height - first) ERREXIT(cinfo, JERR_BAD_VIRTUAL_ACCESS);
    return array->rows + first;
}

void JpegMemory::free_pool(j_common_ptr cinfo, int pool_id) {
    if (pool_id < 0 || pool_id >= JPOOL_NUMPOOLS) ERREXIT1(cinfo, JERR_BAD_POOL_ID, pool_id);
    Pool& pool = of(cinfo).pools_[pool_id];
    if (pool.total > kRetainedBytes) return free_blocks(pool);
    for (Block* block = pool.first; block != nullptr; block = block->next) block->used = 0;
    pool.current = pool.first;
}

void JpegMemory::self_destruct(j_common_ptr cinfo) {
    for (Pool& pool : of(cinfo).pools_) free_blocks(pool);
}

void JpegMemory::free_blocks(Pool& pool) {
    while (pool.first != nullptr) {
        Block* next = pool.first->next;
        std::free(pool.first);
        pool.first = next;
    }
    pool = Pool{};
}

}  // namespace gs
