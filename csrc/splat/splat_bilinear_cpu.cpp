// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <atomic>
#include <memory>
#include <vector>

#include "splat/splat_bilinear_isa.h"
#include "splat/splat_bilinear_operands.h"
#include "splat/splat_cpu.h"
#include "splat/splat_rows_cpu.h"
#include "torch/aligned.h"
#include "torch/parallel.h"
#include "torch/parts.h"

namespace mirage {
namespace {

constexpr int64_t kMaxPointsInViews = 1 << 24;  // listed at once

std::unique_ptr<float[]> limits_of(const float* depth, int64_t n, float band) {
  auto limits = std::make_unique_for_overwrite<float[]>(n);
  for (int64_t i = 0; i < n; ++i) limits[i] = blend_limit(depth[i], band);
  return limits;
}

struct Gradient {  // what the kernels of both gradients take, and what keeps it alive
  std::vector<View> views;
  std::unique_ptr<float[]> limits, rows;
  BlendGrid grid;
  BlendGradient job;

  explicit Gradient(const BilinearGradient& in)
      : views(load_views(in.cameras, kCornerMargin)),
        limits(limits_of(data<float>(in.depth), in.depth.numel(), in.band)), rows(rows_of(in.grad)),
        grid{in.cameras.h, in.cameras.w, in.channels(), limits.get()},
        job{views.data(), static_cast<int>(in.cameras.count), rows.get(), data<float>(in.weight), nullptr, 0, 0} {}
};

// Points are independent of each other: threads take blocks of them.
template <class Run>
void for_each_block(const SplatPoints& points, const BlendGradient& all, const Run& run) {
  parallel_for(0, num_blocks(points), 8, [&](int64_t first, int64_t last) {
    BlendGradient job = all;
    job.first = first;
    job.last = last;
    run(job);
  });
}

// The visible points of each view. Threads list those of some blocks each; the parts are in the order of their points.
class ListsOfParts {
 public:
  ListsOfParts(int64_t parts, int64_t views) : views_(views), lists_(parts * views) {}

  // Lists what views first, first + 1, ... see of a part of the points.
  class Writer : public VisibleLists {
   public:
    Writer(ListsOfParts& lists, int64_t part, int64_t first, int64_t count)
        : VisibleLists{nullptr, extend_view}, of_views_(&lists.lists_[part * lists.views_ + first]), lasts_(count) {
      last = lasts_.data();
    }

   private:
    static VisiblePoints* extend_view(VisibleLists& self, int view) {
      auto& list = static_cast<Writer&>(self).of_views_[view];
      list.push_back(std::make_unique_for_overwrite<VisiblePoints>());
      list.back()->count = 0;
      return self.last[view] = list.back().get();
    }

    std::vector<std::unique_ptr<VisiblePoints>>* of_views_;
    std::vector<VisiblePoints*> lasts_;
  };

  template <class Visit>
  void for_each(int64_t view, const Visit& visit) const {
    for (int64_t list = view; list < static_cast<int64_t>(lists_.size()); list += views_)
      for (const auto& points : lists_[list]) visit(*points);
  }

 private:
  int64_t views_;
  std::vector<std::vector<std::unique_ptr<VisiblePoints>>> lists_;  // (parts, views)
};

// Views [first, first + count) of a call.
class Blender {
 public:
  Blender(const BilinearOperands& in, const std::vector<View>& views, int64_t first, int64_t count)
      : in_(in), views_(&views[first]), count_(count), cells_(in.cameras.cells()), channels_(in.features.size(1)),
        parts_(choose_parts(in.points.n, count, cells_, kMinPointsPerThread)), lists_(parts_, count),
        limits_(std::make_unique_for_overwrite<float[]>(count * cells_)),
        index_(mutable_data<int64_t>(in.index) + first * cells_),
        depth_(mutable_data<float>(in.depth) + first * cells_),
        weight_(mutable_data<float>(in.weight) + first * cells_),
        out_(static_cast<char*>(in.out.mutable_data_ptr()) + first * channels_ * cells_ * in.out.element_size()),
        stream_(is_worth_streaming(in.out, cells_)) {}

  void run() {
    fill_depth();
    // A view is a task. Those left over from an equal share are cut into parts of their cells, which take all points.
    const int64_t threads = torch::stable::get_num_threads(), left = count_ % threads, whole = count_ - left;
    const int64_t parts = left > 0 ? std::min(cells_, ceil_div(threads, left)) : 1;
    std::atomic<int64_t> next = 0;
    parallel_for(0, threads, 1, [&](int64_t, int64_t) {
      Sums sums(*this);
      for (int64_t task = next++; task < whole + left * parts; task = next++) {
        const int64_t part = (task - whole) % parts;
        if (task < whole)
          sums.blend(task, 0, cells_);
        else
          sums.blend(whole + (task - whole) / parts, cells_ * part / parts, cells_ * (part + 1) / parts);
      }
    });
  }

 private:
  // What a thread blends one view after another with.
  class Sums {
   public:
    explicit Sums(const Blender& all)
        : all_(all), weights_(std::make_unique_for_overwrite<float[]>(all.cells_ + kUnusedSums)),
          features_(make_aligned<float>((all.cells_ + kUnusedSums) * all.channels_)) {}

    void blend(int64_t view, int64_t first, int64_t last) {
      const int type = dtype_number(all_.in_.features.scalar_type());
      const BlendGrid grid{all_.in_.cameras.h, all_.in_.cameras.w, all_.channels_, &all_.limits_[view * all_.cells_]};
      const BlendSums sums{first, last, features_.get(), weights_.get()};
      std::fill_n(sums.weights, last - first + kUnusedSums, 0.0f);
      std::fill_n(sums.features, (last - first + kUnusedSums) * all_.channels_, 0.0f);
      const BilinearKernels& kernels = MIRAGE_KERNELS(bilinear_kernels);
      all_.lists_.for_each(view, [&](const VisiblePoints& points) {
        kernels.blend[type](points, grid, all_.in_.features.const_data_ptr(), sums);
      });
      const int64_t at = view * all_.cells_ + first;
      char* out = all_.out_ + (view * all_.channels_ * all_.cells_ + first) * all_.in_.out.element_size();
      kernels.normalize[type](grid, sums,
                              {all_.cells_, all_.index_ + at, all_.depth_ + at, all_.weight_ + at, out,
                               all_.stream_ && can_stream(reinterpret_cast<uint32_t*>(out), all_.cells_)});
    }

   private:
    const Blender& all_;
    const std::unique_ptr<float[]> weights_;
    const Aligned<float> features_;
  };

  // The z-buffer of all views, in index and depth, and the limits of their cells.
  void fill_depth() {
    Keys keys{reinterpret_cast<uint64_t*>(index_), nullptr, parts_, count_ * cells_};
    if (parts_ > 1) keys.others = std::make_unique_for_overwrite<uint64_t[]>((parts_ - 1) * keys.size);
    const int64_t blocks = num_blocks(in_.points);
    each_part(in_.points.n, count_, parts_, kMinPointsPerThread, [&](int64_t part, int64_t view, int64_t count) {
      uint64_t* buffer = part == 0 ? keys.first : keys.others.get() + (part - 1) * keys.size;
      ListsOfParts::Writer lists(lists_, part, view, count);
      MIRAGE_KERNELS(bilinear_kernels)
          .scatter(in_.points,
                   {views_ + view, buffer + view * cells_, static_cast<int>(count), in_.cameras.h, in_.cameras.w,
                    blocks * part / parts_, blocks * (part + 1) / parts_},
                   lists);
    });
    parallel_for(0, keys.size, kMinCellsPerThread, [&](int64_t begin, int64_t end) {
      join_keys(keys, begin, end - begin);
      MIRAGE_KERNELS(splat_kernels).decode(keys.first + begin, end - begin, depth_ + begin);
      for (int64_t i = begin; i < end; ++i) limits_[i] = blend_limit(depth_[i], in_.band);
    });
  }

  static constexpr int64_t kMinCellsPerThread = 4096;

  const BilinearOperands& in_;
  const View* views_;
  const int64_t count_, cells_, channels_, parts_;
  ListsOfParts lists_;
  const std::unique_ptr<float[]> limits_;
  int64_t* const index_;
  float *const depth_, *const weight_;
  char* const out_;
  const bool stream_;
};

struct BilinearOnCpu : CpuDevice {
  static void splat(const BilinearOperands& in) {
    const auto views = load_views(in.cameras, kCornerMargin);
    const int64_t all = in.cameras.count;
    const int64_t some = std::max<int64_t>(1, kMaxPointsInViews / std::max<int64_t>(in.points.n, 1));
    for (int64_t first = 0; first < all; first += some) Blender(in, views, first, std::min(some, all - first)).run();
  }

  static void backward_features(const BilinearGradient& in, const Tensor& out) {
    const Gradient g(in);
    const RoundedSums sums(out);
    for_each_block(in.points, g.job, [&](const BlendGradient& job) {
      MIRAGE_KERNELS(bilinear_kernels).backward_features(in.points, g.grid, job, sums.first);
    });
    sums.round();
  }

  static void backward_xyz(const BilinearGradient& in, const Tensor& features, const Tensor& blended,
                           const Tensor& out) {
    Gradient g(in);
    const auto maps = rows_of(blended);
    g.job.blended = maps.get();
    std::fill_n(mutable_data<float>(out), out.numel(), 0.0f);
    const auto run = MIRAGE_KERNELS(bilinear_kernels).backward_xyz[dtype_number(features.scalar_type())];
    for_each_block(in.points, g.job, [&](const BlendGradient& job) {
      run(in.points, g.grid, job, features.const_data_ptr(), mutable_data<float>(out));
    });
  }
};

}  // namespace
}  // namespace mirage

STABLE_TORCH_LIBRARY_IMPL(mirage_kernels, CPU, m) { mirage::register_splat_bilinear<mirage::BilinearOnCpu>(m); }
