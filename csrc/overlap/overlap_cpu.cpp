// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <memory>
#include <vector>

#include "overlap/overlap.h"
#include "overlap/overlap_isa.h"
#include "torch/parts.h"
#include "torch/views.h"

// N points in G groups, V views, W = ceil(G / 64) words; sets a (A, W) and b (B, W).
namespace mirage {
namespace {

constexpr int64_t kLeast = 16384;        // points in views that are worth a second thread
constexpr int64_t kWordsAtOnce = 2048;  // of every set: those of b in the first-level cache, those of a in the second

struct Bits {  // (V, W) of several parts of the points
  uint64_t* first;
  uint64_t* others;  // (parts - 1, V, W), to be joined to the first; null where every part has words of its own
  int64_t words, parts, size;
  bool grouped;  // else point n is bit n

  uint64_t* of(int64_t part) const { return part == 0 || !others ? first : others + (part - 1) * size; }
};

void look_at_all(const GroupedPoints& points, const std::vector<View>& views, int h, int w, const Bits& bits) {
  const int64_t v = static_cast<int64_t>(views.size());
  const int64_t blocks = ceil_div(points.n, kPointBlock);
  const OverlapKernels& kernels = MIRAGE_KERNELS(overlap_kernels);
  const auto start_of = [&](int64_t part) { return std::min(points.n, blocks * part / bits.parts * kPointBlock); };
  const auto clear = [&](int64_t part, uint64_t* row) {  // the words that this part alone may set
    const int64_t from = bits.grouped ? 0 : start_of(part) / 64;
    const int64_t to = bits.grouped ? bits.words : ceil_div(start_of(part + 1), 64);
    std::fill(row + from, row + to, 0);
  };
  each_part(points.n, v, bits.parts, kLeast, [&](int64_t part, int64_t first, int64_t count) {
    uint64_t* rows = bits.of(part) + first * bits.words;
    for (int64_t i = 0; i < count; ++i) clear(part, rows + i * bits.words);
    kernels.look(points, {&views[first], rows, count, bits.words, h, w, start_of(part), start_of(part + 1)});
  });
  if (!bits.others) return;
  parallel_for(0, bits.size, 65536, [&](int64_t begin, int64_t end) {
    for (int64_t part = 1; part < bits.parts; ++part)
      kernels.join(bits.first + begin, bits.of(part) + begin, end - begin);
  });
}

Tensor visible(const Tensor& xyz, const Tensor& intrinsics, const Tensor& world2cam, int64_t h, int64_t w,
               OptionalTensor valid, OptionalTensor groups, int64_t num_groups) {
  const int64_t n = xyz.size(0), v = world2cam.size(0);
  guard(num_groups >= 0 && (groups || num_groups == n), "visible: bad number of groups");
  const Tensor points = expect(xyz, ScalarType::Float, {n, 3}, "visible: xyz must be float32 (N, 3)");
  const std::vector<View> views = load_views(intrinsics, world2cam, h, w);
  valid = expect(valid, ScalarType::Bool, {n}, "visible: valid must be bool (N,)");
  groups = expect(groups, ScalarType::Long, {n}, "visible: groups must be int64 (N,)");

  const int64_t words = ceil_div(num_groups, 64);
  const Tensor out = empty_like(xyz, {v, words}, ScalarType::Long);
  if (v * words == 0) return out;
  const int64_t parts = choose_parts(n, v, groups ? words : 0, kLeast);
  std::unique_ptr<uint64_t[]> others;
  if (groups && parts > 1) others = std::make_unique_for_overwrite<uint64_t[]>((parts - 1) * v * words);
  const Bits bits{mutable_data<uint64_t>(out), others.get(), words, parts, v * words, groups.has_value()};
  look_at_all({data<float>(points), data<uint8_t>(valid), data<int64_t>(groups), n, num_groups}, views,
              static_cast<int>(h), static_cast<int>(w), bits);
  return out;
}

// Rows b0 .. b1 - 1 of b against all of a: out (A, B).
struct Pairs {
  const uint64_t *a, *b;
  int64_t num_a, num_b, words;
  const int64_t* of_a;  // (A,), how many bits are set
  float* out;
};

void overlap_rows(const Pairs& p, int64_t b0, int64_t b1) {
  const OverlapKernels& kernels = MIRAGE_KERNELS(overlap_kernels);
  std::vector<int64_t> of_b(b1 - b0), common((b1 - b0) * p.num_a);
  for (int64_t at = 0; at < p.words; at += kWordsAtOnce) {
    const int64_t count = std::min(kWordsAtOnce, p.words - at);
    for (int64_t j = 0; j < b1 - b0; ++j) {
      const uint64_t* b = p.b + (b0 + j) * p.words + at;
      of_b[j] += kernels.count_common(b, b, count);
      for (int64_t i = 0; i < p.num_a; ++i)
        common[j * p.num_a + i] += kernels.count_common(p.a + i * p.words + at, b, count);
    }
  }
  for (int64_t i = 0; i < p.num_a; ++i)
    for (int64_t j = 0; j < b1 - b0; ++j)
      p.out[i * p.num_b + b0 + j] = intersection_over_union(common[j * p.num_a + i], p.of_a[i], of_b[j]);
}

Tensor overlap(const Tensor& a, const Tensor& b) {
  const int64_t num_a = a.size(0), num_b = b.size(0), words = a.size(-1);
  const Tensor rows = expect(a, ScalarType::Long, {num_a, words}, "overlap: a must be int64 (A, W)");
  const Tensor columns = expect(b, ScalarType::Long, {num_b, words}, "overlap: b must be int64 (B, W)");
  const Tensor out = empty_like(a, {num_a, num_b}, ScalarType::Float);
  const OverlapKernels& kernels = MIRAGE_KERNELS(overlap_kernels);
  std::vector<int64_t> of_a(num_a);
  for (int64_t i = 0; i < num_a; ++i) {
    const uint64_t* row = data<uint64_t>(rows) + i * words;
    of_a[i] = kernels.count_common(row, row, words);
  }
  const Pairs pairs{data<uint64_t>(rows), data<uint64_t>(columns), num_a, num_b, words, of_a.data(),
                    mutable_data<float>(out)};
  parallel_for(0, num_b, std::max<int64_t>(1, (1 << 20) / ((num_a + 1) * words + 1)),
                              [&](int64_t b0, int64_t b1) { overlap_rows(pairs, b0, b1); });
  return out;
}

}  // namespace
}  // namespace mirage

STABLE_TORCH_LIBRARY_IMPL(mirage_kernels, CPU, m) {
  m.impl("visible", TORCH_BOX(&mirage::visible));
  m.impl("overlap", TORCH_BOX(&mirage::overlap));
}
