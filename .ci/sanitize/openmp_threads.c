// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0

// The part of OpenMP's runtime that torch's parallel loops call, on plain threads. ThreadSanitizer does not see how the
// threads of libgomp wait for each other, and would report every parallel loop.

#include <pthread.h>
#include <stdlib.h>

#define MOST_THREADS 64

struct task {
  void (*run)(void*);
  void* data;
  int thread, threads;
  pthread_barrier_t* barrier;
};

static __thread int wanted = 2;  // OpenMP's number of threads is one of each thread as well
static __thread struct task current = {0, 0, 0, 1, 0};
static __thread int inside = 0;

static void* run_task(void* argument) {
  const struct task before = current;
  const int was_inside = inside;
  current = *(const struct task*)argument;
  inside = 1;
  current.run(current.data);
  current = before;
  inside = was_inside;
  return 0;
}

void GOMP_parallel(void (*run)(void*), void* data, unsigned threads, unsigned flags) {
  (void)flags;
  const int asked = threads ? (int)threads : wanted;
  const int count = inside ? 1 : asked < MOST_THREADS ? asked : MOST_THREADS;
  pthread_t handles[MOST_THREADS];
  struct task tasks[MOST_THREADS];
  pthread_barrier_t barrier;
  if (pthread_barrier_init(&barrier, 0, (unsigned)count)) abort();
  for (int i = 0; i < count; ++i) tasks[i] = (struct task){run, data, i, count, &barrier};
  for (int i = 1; i < count; ++i)
    if (pthread_create(&handles[i], 0, run_task, &tasks[i])) abort();
  run_task(&tasks[0]);
  for (int i = 1; i < count; ++i) pthread_join(handles[i], 0);
  pthread_barrier_destroy(&barrier);
}

void GOMP_barrier(void) {
  if (current.barrier) pthread_barrier_wait(current.barrier);
}

int omp_get_thread_num(void) { return current.thread; }
int omp_get_num_threads(void) { return current.threads; }
int omp_in_parallel(void) { return inside; }
int omp_get_max_threads(void) { return wanted; }
void omp_set_num_threads(int threads) { wanted = threads; }
