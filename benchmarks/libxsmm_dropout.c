/* libxsmm's dropout on several threads, for libxsmm_dropout.py: a team of OpenMP, and a share of the array for each. */

#define _GNU_SOURCE

#include <libxsmm_intrinsics_x86.h>
#include <libxsmm_rng.h>
#include <sched.h>
#include <stddef.h>
#include <unistd.h>

#define LANES 16
#define STATE_WORDS (4 * LANES)
#define MOST_THREADS 256

static cpu_set_t allowed;
static pid_t team[MOST_THREADS]; /* filled by each thread of the team in its first share */

__attribute__((constructor)) static void remember_cores(void) { sched_getaffinity(0, sizeof allowed, &allowed); }

/* Linux wakes a thread where it last ran, be it on the caller's core: keep the team off it, as ours is kept off. */
static void keep_team_off_this_core(int threads) {
  cpu_set_t others = allowed;
  CPU_CLR(sched_getcpu(), &others);
  for (int thread = 1; thread < threads; thread++)
    if (team[thread] && CPU_COUNT(&others)) sched_setaffinity(team[thread], sizeof others, &others);
}

unsigned int *create_state(unsigned int seed) { return libxsmm_rng_create_avx512_extstate(seed); }

/* Call a primitive that libxsmm compiled once for each thread, each with its own arguments. */
void run_primitive(void (*primitive)(const void *), const void *const *arguments, int threads) {
  keep_team_off_this_core(threads);
#pragma omp parallel for num_threads(threads) schedule(static, 1)
  for (int thread = 0; thread < threads; thread++) {
    team[thread] = gettid();
    primitive(arguments[thread]);
  }
}

/* The same from what libxsmm 1.17 has. The compiler keeps a copy of the state in registers. */
static inline void drop(const float *restrict x, float *restrict y, __mmask16 *restrict kept, size_t size, float rate,
                        unsigned int *restrict shared, int with_mask) {
  unsigned int state[STATE_WORDS];
  for (int i = 0; i < STATE_WORDS; i++) state[i] = shared[i];
  const __m512 keep_prob = _mm512_set1_ps(1 - rate), scale = _mm512_set1_ps(1 / (1 - rate));
  for (size_t i = 0; i < size; i += LANES) {
    const __m512 draw = LIBXSMM_INTRINSICS_MM512_RNG_EXTSTATE_PS(state);
    const __mmask16 keep = _mm512_cmp_ps_mask(draw, keep_prob, _CMP_LT_OQ);
    _mm512_storeu_ps(y + i, _mm512_maskz_mul_ps(keep, _mm512_loadu_ps(x + i), scale));
    if (with_mask) kept[i / LANES] = keep;
  }
  for (int i = 0; i < STATE_WORDS; i++) shared[i] = state[i];
}

/* `size` is a multiple of 16 * threads; `kept` has a bit for each element, or is NULL. */
void run_generator(const float *x, float *y, unsigned short *kept, size_t size, float rate, unsigned int *const *states,
                   int threads) {
  const size_t share = size / threads;
  keep_team_off_this_core(threads);
#pragma omp parallel for num_threads(threads) schedule(static, 1)
  for (int thread = 0; thread < threads; thread++) {
    const size_t first = thread * share;
    team[thread] = gettid();
    if (kept)
      drop(x + first, y + first, kept + first / LANES, share, rate, states[thread], 1);
    else
      drop(x + first, y + first, NULL, share, rate, states[thread], 0);
  }
}
