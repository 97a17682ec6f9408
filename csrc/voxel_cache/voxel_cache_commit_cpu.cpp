// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <atomic>
#include <bit>

#include "torch/parallel.h"
#include "voxel_cache/voxel_cache_cpu.h"
#include "voxel_cache/voxel_cache_isa.h"

// Writing what was planned, and the table and boxes over the rows. K points in S segments, R rows, C channels.
namespace mirage {
namespace {

constexpr int64_t kBlock = 256;  // segments or rows
constexpr int64_t kAhead = 8;    // points whose features are asked for before their turn
constexpr int64_t kLevels = 3;

struct Rows {  // what finds rows; `limit` is their number R
  int64_t* keys;
  float *xyz, *footprint;
  int32_t* table;
  uint64_t slots;
  PageBox* boxes[kLevels];
  int64_t limit;

  Rows(const Tensor& keys_, const Tensor& xyz_, const Tensor& footprint_, const Tensor& table_, const Tensor& boxes0,
       const Tensor& boxes1, const Tensor& boxes2)
      : slots(static_cast<uint64_t>(table_.numel())), limit(keys_.size(0)) {
    expect_state(keys_, ScalarType::Long, {limit}, "voxel_cache: keys must be int64 (R,)");
    expect_state(xyz_, ScalarType::Float, {limit, 3}, "voxel_cache: xyz must be float32 (R, 3)");
    expect_state(footprint_, ScalarType::Float, {limit}, "voxel_cache: footprint must be float32 (R,)");
    expect_state(table_, ScalarType::Int, {-1}, "voxel_cache: table must be int32 (T,)");
    guard(slots >= 64 && std::has_single_bit(slots), "voxel_cache: bad size of table");
    keys = mutable_data<int64_t>(keys_);
    xyz = mutable_data<float>(xyz_);
    footprint = mutable_data<float>(footprint_);
    table = mutable_data<int32_t>(table_);
    const Tensor* levels[kLevels] = {&boxes0, &boxes1, &boxes2};
    for (int64_t level = 0, size = limit; level < kLevels; ++level) {
      size = ceil_div(size, kPage);
      expect_state(*levels[level], ScalarType::Float, {size, 7}, "voxel_cache: boxes must be (ceil(R / 64^l), 7)");
      boxes[level] = reinterpret_cast<PageBox*>(mutable_data<float>(*levels[level]));
    }
  }

  // Enters rows first, first + 1, ... with these keys, at most kBlock of them. False when the table is full.
  bool enter(const int64_t* some_keys, int64_t first, int64_t count) const {
    uint64_t homes[kBlock];
    MIRAGE_KERNELS(voxel_cache_kernels).find_homes(some_keys, count, slots, homes);
    for (int64_t k = 0; k < count; ++k) __builtin_prefetch(table + homes[k], 1);
    bool ok = true;
    for (int64_t k = 0; k < count; ++k) ok &= enter_row(table, slots, static_cast<int32_t>(first + k), homes[k]);
    return ok;
  }

  // Grows the boxes of all levels by rows [first, last). A box holds all of those below it, so the pages will do.
  void bound(int64_t first, int64_t last) const {
    if (first >= last) return;
    parallel_for(first / kPage, ceil_div(last, kPage), 128, [&](int64_t begin, int64_t end) {
      for (int64_t page = begin; page < end; ++page) {
        const int64_t from = std::max(first, page * kPage), to = std::min(last, (page + 1) * kPage);
        MIRAGE_KERNELS(voxel_cache_kernels).bound(xyz + 3 * from, footprint + from, to - from, boxes[0] + page);
      }
    });
    for (int64_t level = 1; level < kLevels; ++level) {
      first /= kPage;
      last = ceil_div(last, kPage);
      for (int64_t b = first; b < last; ++b) grow(boxes[level][b / kPage], boxes[level - 1][b]);
    }
  }

  void bound(int64_t row) const {
    for (int64_t level = 0, b = row / kPage; level < kLevels; ++level, b /= kPage)
      grow(boxes[level][b], xyz + 3 * row, footprint[row]);
  }
};

struct Segments : PlanArrays {  // the plan, which is only read
  int64_t kept, count;
};

struct Content {  // the points, and where their content goes
  const float *xyz, *footprint;
  const char* features;
  int64_t points, channels;
  Element element;
  float default_footprint;
  char* features_rows;
  float* scale;
  int32_t* count;
  int64_t* stamp_rows;
  int64_t stamp;
};

class Writer {
 public:
  Writer(const Segments& plan, const Content& content, const Rows& rows, int64_t used)
      : plan_(plan), in_(content), rows_(rows), used_(used) {}

  // Writes all segments, and enters the new ones into the table meanwhile. False if the plan does not fit the state.
  bool run() {
    const int64_t blocks = ceil_div(plan_.count, kBlock);
    const int64_t threads = std::min<int64_t>(torch::stable::get_num_threads(), blocks);
    std::atomic<int64_t> next{-1};  // the table is one task, because rows enter it in order
    std::atomic<bool> ok{true};
    parallel_for(0, std::max<int64_t>(threads, 1), 1, [&](int64_t, int64_t) {
      for (int64_t task = next++; task < blocks; task = next++) {
        const int64_t begin = task * kBlock;
        const bool fine = task < 0 ? enter_new() : write(begin, std::min(plan_.count, begin + kBlock));
        if (!fine) ok = false;
      }
    });
    return ok;
  }

  // Grows the boxes by what was written.
  void bound() const {
    int64_t last = used_;
    for (int64_t s = 0; s < plan_.count; ++s) {
      const int64_t row = plan_.row[s];
      if (row >= used_) {
        ++last;
      } else if (plan_.winner[s] >= 0) {
        rows_.bound(row);
      }
    }
    rows_.bound(used_, last);
  }

 private:
  bool enter_new() const {
    int64_t keys[kBlock];
    int64_t first = used_, count = 0;
    bool ok = true;
    for (int64_t s = 0; s < plan_.count; ++s) {
      if (plan_.row[s] < used_) continue;
      ok &= plan_.row[s] == first + count && plan_.row[s] < rows_.limit;
      keys[count++] = plan_.key[s];
      if (count < kBlock) continue;
      ok &= rows_.enter(keys, first, count);
      first += count;
      count = 0;
    }
    return rows_.enter(keys, first, count) && ok;
  }

  bool write(int64_t begin, int64_t end) const {
    int32_t from[kBlock], to[kBlock];
    int64_t n = 0;
    bool ok = true;
    for (int64_t s = begin; s < end; ++s) {
      const int64_t row = plan_.row[s], point = plan_.winner[s];
      const bool inside = row >= 0 && row < rows_.limit && point >= -1 && point < in_.points;
      ok &= inside;
      if (!inside) continue;
      if (row >= used_) rows_.keys[row] = plan_.key[s];
      if (in_.count) ok &= add(s, row);
      if (in_.count || point >= 0) in_.stamp_rows[row] = in_.stamp;
      if (point < 0) continue;
      from[n] = static_cast<int32_t>(point);
      to[n++] = static_cast<int32_t>(row);
    }
    for (int64_t k = 0; k < n; ++k) __builtin_prefetch(in_.xyz + 3 * from[k]);
    for (int64_t k = 0; k < n; ++k) __builtin_memcpy(rows_.xyz + 3 * to[k], in_.xyz + 3 * from[k], 3 * sizeof(float));
    for (int64_t k = 0; k < n; ++k)
      rows_.footprint[to[k]] = in_.footprint ? in_.footprint[from[k]] : in_.default_footprint;
    if (!in_.count) replace(from, to, n);
    return ok;
  }

  void replace(const int32_t* from, const int32_t* to, int64_t n) const {
    const VoxelCacheKernels& kernels = MIRAGE_KERNELS(voxel_cache_kernels);
    const int64_t bytes = in_.channels * size_of(in_.element);
    if (!in_.scale) {
      kernels.copy_rows(in_.features, from, in_.features_rows, to, n, bytes);
      return;
    }
    for (int64_t k = 0; k < n; ++k) {
      int8_t* row = reinterpret_cast<int8_t*>(in_.features_rows) + to[k] * in_.channels;
      in_.scale[to[k]] = kernels.quantise(in_.element, in_.features + from[k] * bytes, in_.channels, row);
    }
  }

  // The points of a voxel lie anywhere in memory.
  void prefetch(int64_t point, int64_t bytes) const {
    for (int64_t at = 0; at < bytes; at += 64) __builtin_prefetch(in_.features + point * bytes + at);
  }

  // Adds the points of a segment to its row.
  bool add(int64_t s, int64_t row) const {
    const int64_t begin = plan_.starts[s], end = plan_.starts[s + 1], bytes = in_.channels * size_of(in_.element);
    if (begin < 0 || begin >= end || end > plan_.kept) return false;
    const bool fresh = row >= used_;
    float* sum = reinterpret_cast<float*>(in_.features_rows) + row * in_.channels;
    for (int64_t i = begin; i < end; ++i) {
      const int64_t point = plan_.order[i];
      if (point < 0 || point >= in_.points) return false;
      prefetch(plan_.order[std::min(i + kAhead, plan_.kept - 1)], bytes);
    }
    MIRAGE_KERNELS(voxel_cache_kernels)
        .add(in_.element, in_.features, plan_.order + begin, end - begin, in_.channels, fresh, sum);
    in_.count[row] = static_cast<int32_t>(end - begin) + (fresh ? 0 : in_.count[row]);
    return true;
  }

  const Segments& plan_;
  const Content& in_;
  const Rows& rows_;
  int64_t used_;
};

}  // namespace

namespace cpu {

void commit_insert(const Tensor& plan, int64_t kept, int64_t segments, const InsertedPoints& points,
                   const CacheState& state, const InsertRule& rule) {
  const CommitOperands in(plan, kept, segments, points, state, rule);
  const Rows rows(state.keys, state.xyz, state.footprint, state.table, state.boxes0, state.boxes1, state.boxes2);
  const Content content{data<float>(in.xyz), data<float>(in.footprint), data<char>(in.features), in.xyz.size(0),
                        in.features.size(1), element_of(in.features.scalar_type()),
                        static_cast<float>(rule.default_footprint), mutable_data<char>(state.features),
                        state.scale ? mutable_data<float>(*state.scale) : nullptr,
                        state.count ? mutable_data<int32_t>(*state.count) : nullptr,
                        mutable_data<int64_t>(state.stamp), rule.stamp};
  const Segments to_write{in.arrays, kept, segments};
  Writer writer(to_write, content, rows, state.rows);
  guard(writer.run(), "voxel_cache_commit: the plan does not fit the state");
  writer.bound();
}

}  // namespace cpu

namespace {

void voxel_cache_index(const Tensor& keys, const Tensor& xyz, const Tensor& footprint, const Tensor& table,
                       const Tensor& boxes0, const Tensor& boxes1, const Tensor& boxes2, int64_t rows) {
  const Rows state(keys, xyz, footprint, table, boxes0, boxes1, boxes2);
  guard(rows >= 0 && rows <= state.limit && rows <= INT32_MAX, "voxel_cache_index: rows must be within capacity");
  std::fill_n(state.table, state.slots, -1);
  const Tensor* levels[kLevels] = {&boxes0, &boxes1, &boxes2};
  for (int64_t level = 0; level < kLevels; ++level)
    std::fill_n(state.boxes[level], levels[level]->size(0), empty_box());
  bool ok = true;
  for (int64_t first = 0; first < rows; first += kBlock)
    ok &= state.enter(state.keys + first, first, std::min(kBlock, rows - first));
  guard(ok, "voxel_cache_index: the table is full");
  state.bound(0, rows);
}

}  // namespace
}  // namespace mirage

STABLE_TORCH_LIBRARY_IMPL(mirage_kernels, CPU, m) {
  using namespace mirage::cpu;
  m.impl("voxel_cache_insert", TORCH_BOX((&mirage::voxel_cache_insert<plan_insert, commit_insert>)));
  m.impl("voxel_cache_commit", TORCH_BOX(&mirage::voxel_cache_commit<commit_insert>));
  m.impl("voxel_cache_index", TORCH_BOX(&mirage::voxel_cache_index));
}
