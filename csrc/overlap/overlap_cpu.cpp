// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <bit>
#include <memory>
#include <vector>

#include "overlap/overlap_isa.h"
#include "overlap/overlap_operands.h"
#include "torch/parts.h"

namespace mirage {
namespace {

constexpr int64_t kMinPointsPerThread = 16384;        // points in views that are worth a second thread
constexpr int64_t kWordBatch = 2048;  // of every set: those of b in the first-level cache, those of a in the second

struct Bits {  // (V, W) of several parts of the points
  uint64_t* first;
  uint64_t* others;  // (parts - 1, V, W), to be joined to the first; null where every part has words of its own
  int64_t words, parts, size;
  bool grouped;  // else point n is bit n

  uint64_t* of(int64_t part) const { return part == 0 || !others ? first : others + (part - 1) * size; }
};

void mark_all_visible(const GroupedPoints& points, const std::vector<View>& views, int h, int w, const Bits& bits) {
  const int64_t v = static_cast<int64_t>(views.size());
  const int64_t blocks = ceil_div(points.n, kPointBlock);
  const OverlapKernels& kernels = MIRAGE_KERNELS(overlap_kernels);
  const auto start_of = [&](int64_t part) { return std::min(points.n, blocks * part / bits.parts * kPointBlock); };
  const auto clear = [&](int64_t part, uint64_t* row) {  // the words that this part alone may set
    const int64_t from = bits.grouped ? 0 : start_of(part) / 64;
    const int64_t to = bits.grouped ? bits.words : ceil_div(start_of(part + 1), 64);
    std::fill(row + from, row + to, 0);
  };
  each_part(points.n, v, bits.parts, kMinPointsPerThread, [&](int64_t part, int64_t first, int64_t count) {
    uint64_t* rows = bits.of(part) + first * bits.words;
    for (int64_t i = 0; i < count; ++i) clear(part, rows + i * bits.words);
    kernels.mark_visible(points, {&views[first], rows, count, bits.words, h, w, start_of(part), start_of(part + 1)});
  });
  if (!bits.others) return;
  parallel_for(0, bits.size, 65536, [&](int64_t begin, int64_t end) {
    for (int64_t part = 1; part < bits.parts; ++part)
      kernels.join(bits.first + begin, bits.of(part) + begin, end - begin);
  });
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
  for (int64_t at = 0; at < p.words; at += kWordBatch) {
    const int64_t count = std::min(kWordBatch, p.words - at);
    for (int64_t j = 0; j < b1 - b0; ++j) {
      const uint64_t* b = p.b + (b0 + j) * p.words + at;
      of_b[j] += kernels.count_common(b, b, count);
      for (int64_t i = 0; i < p.num_a; ++i)
        common[j * p.num_a + i] += kernels.count_common(p.a + i * p.words + at, b, count);
    }
  }
  for (int64_t i = 0; i < p.num_a; ++i)
    for (int64_t j = 0; j < b1 - b0; ++j)
      p.out[i * p.num_b + b0 + j] = iou(common[j * p.num_a + i], p.of_a[i], of_b[j]);
}

struct OverlapOnCpu : CpuDevice {
  static void visible(const VisibleOperands& in) {
    const int64_t v = in.cameras.count, words = in.words;
    const bool grouped = in.groups.has_value();
    const std::vector<View> views = load_views(in.cameras);
    const int64_t parts = choose_parts(in.points.n, v, grouped ? words : 0, kMinPointsPerThread);
    std::unique_ptr<uint64_t[]> others;
    if (grouped && parts > 1) others = std::make_unique_for_overwrite<uint64_t[]>((parts - 1) * v * words);
    const Bits bits{mutable_data<uint64_t>(in.out), others.get(), words, parts, v * words, grouped};
    mark_all_visible(in.points, views, in.cameras.h, in.cameras.w, bits);
  }

  static void overlap(const OverlapOperands& in) {
    const OverlapKernels& kernels = MIRAGE_KERNELS(overlap_kernels);
    std::vector<int64_t> of_a(in.num_a);
    for (int64_t i = 0; i < in.num_a; ++i) {
      const uint64_t* row = data<uint64_t>(in.a) + i * in.words;
      of_a[i] = kernels.count_common(row, row, in.words);
    }
    const Pairs pairs{data<uint64_t>(in.a), data<uint64_t>(in.b),       in.num_a, in.num_b, in.words,
                      of_a.data(),          mutable_data<float>(in.out)};
    parallel_for(0, in.num_b, std::max<int64_t>(1, (1 << 20) / ((in.num_a + 1) * in.words + 1)),
                 [&](int64_t b0, int64_t b1) { overlap_rows(pairs, b0, b1); });
  }
};

// Elsewhere PyTorch's operations run in its place: sets leave one after the other.
Tensor keep_sets(const Tensor& bits_, int64_t count) {
  const Tensor bits = expect(bits_, ScalarType::Long, {-1, -1}, "overlap_keep: bits must be int64 (S, W)");
  const int64_t sets = bits.size(0), words = bits.size(1);
  guard(count >= 0 && count <= sets, "overlap_keep: count must be 0 to S");
  const int digits = std::max<int>(1, std::bit_width(static_cast<uint64_t>(sets)));
  std::vector<uint64_t> holders(digits * words), alone(words);
  std::vector<int64_t> own(sets);
  std::vector<uint8_t> is_kept(sets);
  MIRAGE_KERNELS(overlap_kernels)
      .keep(
          {data<uint64_t>(bits), sets, words, count, digits, holders.data(), alone.data(), own.data(), is_kept.data()});
  const Tensor kept = new_empty(bits, {count}, ScalarType::Long);
  int64_t* to = mutable_data<int64_t>(kept);
  for (int64_t s = 0; s < sets; ++s)
    if (is_kept[s]) *to++ = s;
  return kept;
}

}  // namespace
}  // namespace mirage

STABLE_TORCH_LIBRARY_IMPL(mirage_kernels, CPU, m) {
  mirage::register_overlap<mirage::OverlapOnCpu>(m);
  m.impl("overlap_keep", MIRAGE_BOX(&mirage::keep_sets));
}
