// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <atomic>
#include <bit>

#include "voxel_cache/voxel_cache_isa.h"
#include "voxel_cache/voxel_cache_tensor.h"

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
    guard(slots >= 8 && std::has_single_bit(slots), "voxel_cache: bad size of table");
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
    torch::stable::parallel_for(first / kPage, ceil_div(last, kPage), 128, [&](int64_t begin, int64_t end) {
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

struct Segments {  // the plan
  const int32_t *order, *starts;
  const int64_t* key;
  const int32_t *row, *winner;
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
    torch::stable::parallel_for(0, std::max<int64_t>(threads, 1), 1, [&](int64_t, int64_t) {
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

void voxel_cache_commit(const Tensor& order, const Tensor& starts, const Tensor& key, const Tensor& row,
                        const Tensor& winner, const Tensor& xyz, OptionalTensor footprint, const Tensor& features,
                        const Tensor& keys, const Tensor& xyz_rows, const Tensor& footprint_rows,
                        const Tensor& features_rows, OptionalTensor scale, OptionalTensor count,
                        const Tensor& stamp_rows, const Tensor& table, const Tensor& boxes0, const Tensor& boxes1,
                        const Tensor& boxes2, int64_t rows, int64_t stamp, double default_footprint, int64_t fusion) {
  const int64_t n = xyz.size(0), s = key.numel(), c = features.size(1);
  const Tensor orders = expect(order, ScalarType::Int, {-1}, "voxel_cache_commit: order must be int32 (K,)");
  const Tensor cuts = expect(starts, ScalarType::Int, {s + 1}, "voxel_cache_commit: starts must be int32 (S + 1,)");
  const Tensor codes = expect(key, ScalarType::Long, {s}, "voxel_cache_commit: key must be int64 (S,)");
  const Tensor goals = expect(row, ScalarType::Int, {s}, "voxel_cache_commit: row must be int32 (S,)");
  const Tensor picks = expect(winner, ScalarType::Int, {s}, "voxel_cache_commit: winner must be int32 (S,)");
  const Tensor at = expect(xyz, ScalarType::Float, {n, 3}, "voxel_cache_commit: xyz must be float32 (N, 3)");
  const OptionalTensor wide = expect(footprint, ScalarType::Float, {n}, "voxel_cache_commit: footprint must be (N,)");
  const Tensor from = expect(features, features.scalar_type(), {n, c}, "voxel_cache_commit: features must be (N, C)");
  const bool mean = static_cast<Fusion>(fusion) == Fusion::kMean;
  guard(mean == count.has_value() && !(mean && scale), "voxel_cache_commit: count goes with the mean, scale with int8");

  const Rows state(keys, xyz_rows, footprint_rows, table, boxes0, boxes1, boxes2);
  const int64_t r = state.limit;
  guard(rows >= 0 && rows <= r && r <= INT32_MAX, "voxel_cache_commit: rows must be within capacity");
  const ScalarType stored = scale ? ScalarType::Char : mean ? ScalarType::Float : features.scalar_type();
  expect_state(features_rows, stored, {r, c}, "voxel_cache_commit: bad features_rows");
  expect_state(stamp_rows, ScalarType::Long, {r}, "voxel_cache_commit: stamp_rows must be int64 (R,)");
  if (scale) expect_state(*scale, ScalarType::Float, {r}, "voxel_cache_commit: scale must be float32 (R,)");
  if (count) expect_state(*count, ScalarType::Int, {r}, "voxel_cache_commit: count must be int32 (R,)");

  const Segments plan{data<int32_t>(orders), data<int32_t>(cuts),  data<int64_t>(codes), data<int32_t>(goals),
                      data<int32_t>(picks),  orders.numel(), s};
  const Content content{data<float>(at), data<float>(wide), data<char>(from), n, c, element_of(features.scalar_type()),
                        static_cast<float>(default_footprint), mutable_data<char>(features_rows),
                        scale ? mutable_data<float>(*scale) : nullptr, count ? mutable_data<int32_t>(*count) : nullptr,
                        mutable_data<int64_t>(stamp_rows), stamp};
  Writer writer(plan, content, state, rows);
  guard(writer.run(), "voxel_cache_commit: the plan does not fit the state");
  writer.bound();
}

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
  m.impl("voxel_cache_commit", TORCH_BOX(&mirage::voxel_cache_commit));
  m.impl("voxel_cache_index", TORCH_BOX(&mirage::voxel_cache_index));
}
