// A trial forward in time, one block for it: pieces between arrivals, releases, knots, samples and spikes that feed back, as in
// targets/numpy/forward.py. Within a piece neurons do not see each other, so each thread follows its own to the end of it.
#pragma once
#include "crossing.cuh"
#include "kinks.h"

namespace snn {

// Whether an arrival reaches a neuron, and the place of the connection among the entries of its projection
SNN_INLINE bool reaches(const Projection& q, const Arrival& a, int j, std::int64_t& entry)
{
    if (a.entry >= 0) return entry = a.entry, q.neuron[a.entry] == j;
    if (!q.sparse) return entry = std::int64_t(a.neuron) * q.width + j, true;
    std::int64_t low = q.first[a.neuron], high = q.first[a.neuron + 1];
    while (low < high)
    {
        const std::int64_t middle = (low + high) / 2;
        if (q.neuron[middle] < j) low = middle + 1;
        else high = middle;
    }
    return entry = low, low < q.first[a.neuron + 1] && q.neuron[low] == j;
}

template <class M> SNN_INLINE void arrive(const Population& p, int receptor, int j, double w, double* x)
{
    M::receptor(receptor, [&](auto r) {
        using R = decltype(r);
        double in[M::S + 1], out[M::S];
        for (int s = 0; s < M::S; s++) in[s] = x[s];
        in[M::S] = w;
        run_rule<M, R::template Arrive>(p, j, in, out);
        for (int s = 0; s < M::S; s++) x[s] = out[s];
    });
}
// The same to a neuron that may be refractory, and then follow other rules
template <class M> SNN_INLINE void arrive(const Population& p, int receptor, int j, double w, double* x, bool held)
{
    if constexpr (M::REFRACTORY)
        if (held) return arrive<typename M::Held>(p, receptor, j, w, x);
    arrive<M>(p, receptor, j, w, x);
}
template <class M> SNN_INLINE bool receptor_fires(int receptor)
{
    bool yes = false;
    M::receptor(receptor, [&](auto r) { yes = decltype(r)::FIRES; });
    return yes && M::SPIKING;
}
template <class M> SNN_INLINE bool is_above(const Population& p, int j, const double* x)
{
    double g;
    run_rule<M, M::template Event>(p, j, x, &g);
    return g > 0;
}
template <class M> SNN_INLINE double duration_of(const Population& p, int j)
{
    double d = INF;
    if constexpr (M::REFRACTORY) run_rule<M, M::template Duration>(p, j, nullptr, &d);
    return d;
}

// What a trial's way forward and its way back have in common: one component of one trial, by one block
class Pass
{
protected:
    __device__ Pass(const Network& network, Block& block, int trial) : net(network), s(block), b(trial) {}

    const Network& net;
    Block& s;
    const int b;
    const Component* c = nullptr;

    SNN_INLINE const Train& train(int k) const { return net.train[net.inputs + k]; }
    SNN_INLINE std::int64_t in_train(const Train& of, int spike) const { return std::int64_t(b) * of.room + spike; }
    // what this trial has of the component's tape
    template <class T> SNN_INLINE T* tape(T* all, int room) const { return all + std::int64_t(b) * room; }
    // The weight with which an arrival comes through an entry
    SNN_INLINE double weight(const Projection& q, const Arrival& a, std::int64_t entry) const
    {
        return q.sources < 0 ? q.weight[entry] : q.weight[entry] * q.amplitude[in_train(net.train[q.source], a.spike)];
    }
    // Whether a population is one of the component's
    SNN_INLINE bool here(int k) const
    {
        for (int i = 0; i < c->populations; i++)
            if (c->population[i] == k) return true;
        return false;
    }
    // States or costates of a neuron
    template <class M> SNN_INLINE void load(const double* from, int k, int j, double* to) const
    {
        const Population& p = net.population[k];
        for (int i = 0; i < M::S; i++) to[i] = from[p.states + std::int64_t(i) * p.width + j];
    }
    template <class M> SNN_INLINE void keep(double* to, int k, int j, const double* from) const
    {
        const Population& p = net.population[k];
        for (int i = 0; i < M::S; i++) to[p.states + std::int64_t(i) * p.width + j] = from[i];
    }
};

class Forward : Pass
{
public:
    __device__ Forward(const Network& network, Block& block, int trial)
        : Pass(network, block, trial), x(net.x + trial * net.states), when(net.when + trial * net.neurons),
          until(net.until + trial * net.neurons), held(net.held + trial * net.neurons), since(net.since + trial * net.neurons),
          fired(net.fired + trial * net.neurons), counts(net.counts + trial * net.neurons),
          cursor(net.cursor + trial * (net.projections + net.drives)), raw(net.raw + std::int64_t(trial) * net.raw_room),
          raw_before(net.raw_before + std::int64_t(trial) * net.raw_room * net.most) {}

    // Whether the trial has a result; if not, net.failure or net.overflow tell why
    __device__ bool run()
    {
        for (int c = 0; c < net.components; c++)
            if (!run(c)) return false;
        return true;
    }

private:
    double *x, *when, *until;
    int *held, *since, *fired, *counts, *cursor;
    Raw* raw;
    double* raw_before;
    double t = 0, look = 0, gdot = INF;
    int round = 0, stop = 0;

    SNN_INLINE double* state(int k) const { return x + net.population[k].states; }

    // --- failures and room ---------------------------------------------------------------------------------------------

    // To be followed by failed(), of all threads; of several failures at one place the first by population, then neuron, is told
    SNN_INLINE void fail(int kind, int k, int j, double time)
    {
        when[net.population[k].neurons + j] = time;
        atomicMin(&s.failure, (unsigned long long)kind << 56 | (unsigned long long)k << 32 | (unsigned)j);
    }
    __device__ bool failed()
    {
        __syncthreads();
        const unsigned long long what = s.failure;
        const int full = s.full;
        if (what != ~0ull && threadIdx.x == 0)
        {
            const int k = int(what >> 32 & 0xffffff), j = int(what & 0xffffffff);
            net.failure[b] = {int(what >> 56), k, j, when[net.population[k].neurons + j]};
        }
        __syncthreads();
        return what != ~0ull || full;
    }
    // Room for one more than `count` of something; where there is none, how much would have been needed
    SNN_INLINE bool room(int count, int most, int which)
    {
        if (count < most) return true;
        atomicMax(&net.overflow[which], count + 1);
        atomicExch(&s.full, 1);
        return false;
    }
    SNN_INLINE int kind(int which) const { return int(c - net.component) * 5 + which; }  // pieces, arrivals, instants, owns, releases

    // --- one component -------------------------------------------------------------------------------------------------

    __device__ bool run(int number)
    {
        c = net.component + number;
        t = 0, look = net.window, round = 0, stop = 0;
        if (threadIdx.x == 0)
        {
            s.failure = ~0ull;
            s.pieces = s.arrivals = s.instants = s.owns = s.releases = s.knots = s.raw = s.full = 0;
            for (int i = 0; i < c->incoming; i++) cursor[c->projection[i]] = 0;
            for (int i = 0; i < c->drives; i++) cursor[net.projections + c->drive[i]] = 0;
        }
        __syncthreads();
        for (int i = 0; i < c->populations; i++) begin_population(c->population[i]);
        for (int i = 0; i < c->incoming; i++) begin_sources(net.projection[c->projection[i]]);
        if (failed()) return false;
        while (true)
        {
            if (!begin()) return false;
            const double following = next();
            if (following > t && t >= net.duration) break;
            Piece& piece = tape(c->piece, c->room.pieces)[s.pieces - 1];
            double end = t;
            if (following > t)
            {
                end = go(following);
                if (!(end >= t)) return false;
            }
            __syncthreads();
            if (threadIdx.x == 0) piece.end = end, piece.owns = s.owns;
            round++;
            if (end > t)
            {
                for (int i = 0; i < c->populations; i++)
                {
                    const Population& p = net.population[c->population[i]];
                    for (int j = threadIdx.x; j < p.n; j += THREADS) fired[p.neurons + j] = 0;
                }
                round = 0;
            }
            t = end;
            __syncthreads();
        }
        if (threadIdx.x == 0)
        {
            Piece& last = tape(c->piece, c->room.pieces)[s.pieces - 1];
            last.end = t, last.owns = s.owns;
            c->pieces[b] = s.pieces;
        }
        for (int i = 0; i < c->populations; i++)
        {
            const Population& p = net.population[c->population[i]];
            for (int j = threadIdx.x; j < p.n; j += THREADS) net.held_end[b * net.neurons + p.neurons + j] = held[p.neurons + j];
            count_together(train(c->population[i]));
        }
        gdot = block_min(gdot, s);
        if (threadIdx.x == 0) net.smallest[b] = fmin(net.smallest[b], gdot);
        __syncthreads();
        return true;
    }

    __device__ void begin_population(int k)
    {
        const Population& p = net.population[k];
        with_model(p.model, [&](auto tag) {
            using M = typename decltype(tag)::type;
            for (int j = threadIdx.x; j < p.n; j += THREADS)
            {
                double y[M::S];
                for (int i = 0; i < M::S; i++) y[i] = p.initial[std::int64_t(i) * p.width + j];
                keep<M>(x, k, j, y);
                const std::int64_t at = p.neurons + j;
                held[at] = 0, until[at] = INF, fired[at] = 0, counts[at] = 0;
                if constexpr (M::SPIKING)
                    if (is_above<M>(p, j, y)) fail(ABOVE, k, j, 0.0);
                if (net.maxima && k == net.readout)
                {
                    const std::int64_t top = std::int64_t(b) * p.width + j;
                    net.peaks.value[top] = y[net.observed], net.peaks.kind[top] = START, net.peaks.piece[top] = 0;
                    net.peaks.time[top] = net.peaks.slope[top] = 0;
                }
            }
        });
        if (threadIdx.x == 0) train(k).count[b] = 0;
    }

    // --- states of sources ---------------------------------------------------------------------------------------------

    __device__ void begin_sources(const Projection& q)
    {
        if (q.sources < 0) return;
        const Population& p = net.population[q.sources];
        for (int j = threadIdx.x; j < p.n; j += THREADS)
        {
            for (int i = 0; i < p.S; i++) x[p.states + std::int64_t(i) * p.width + j] = p.initial[std::int64_t(i) * p.width + j];
            since[p.neurons + j] = -1;
        }
        if (threadIdx.x == 0) q.sent[b] = 0;
    }
    // The amplitudes of all spikes of the source so far; every neuron's by its own thread, in order
    __device__ void send(const Projection& q)
    {
        if (q.sources < 0) return;
        const Train& from = net.train[q.source];
        const int n = from.count[b], first = q.sent[b];
        if (first >= n) return;
        const Population& p = net.population[q.sources];
        with_model(p.model, [&](auto tag) {
            using M = typename decltype(tag)::type;
            for (int k = first; k < n; k++)
            {
                const std::int64_t at = in_train(from, k);
                const int j = from.neuron[at];
                if (j % THREADS != int(threadIdx.x)) continue;
                const int last = since[p.neurons + j];  // its own thread's: others may not even read it
                double y[M::S], z[M::S];
                load<M>(x, q.sources, j, y);
                const double interval = from.t[at] - (last >= 0 ? from.t[in_train(from, last)] : 0.0);
                for (int i = 0; i < M::S; i++) q.begun[at * M::S + i] = y[i];
                snn::flow<M, M>(p, j, interval, y, z);
                for (int i = 0; i < M::S; i++) q.due[at * M::S + i] = z[i];
                arrive<M>(p, 0, j, 1.0, z);
                keep<M>(x, q.sources, j, z);
                if (!std::isfinite(z[M::S - 1])) fail(AMPLITUDE, q.sources, j, from.t[at]);
                q.amplitude[at] = z[M::S - 1], q.interval[at] = interval;
                since[p.neurons + j] = k;
            }
        });
        __syncthreads();
        if (threadIdx.x == 0) q.sent[b] = n;
    }

    // --- the start of a piece ------------------------------------------------------------------------------------------

    // Time of the next arrival through a projection with one delay
    SNN_INLINE double next_common(int q)
    {
        const Projection& p = net.projection[q];
        const Train& from = net.train[p.source];
        const int n = from.count[b];
        int& at = cursor[q];
        while (at < n && p.sparse)
        {
            const int i = from.neuron[in_train(from, at)];
            if (p.first[i] < p.first[i + 1]) break;
            at++;
        }
        if (at >= n) return INF;
        const double time = from.t[in_train(from, at)] + *p.delay;
        return time <= net.duration ? time : INF;
    }
    SNN_INLINE int* along(int q) const { return net.along + net.along_at[q] + std::int64_t(b) * net.train[net.projection[q].source].room; }

    __device__ double next()
    {
        double soonest = INF;
        for (int i = 0; i < c->incoming; i++)
        {
            const int q = c->projection[i];
            const Projection& p = net.projection[q];
            if (!p.delayed)
            {
                if (threadIdx.x == 0) soonest = fmin(soonest, next_common(q));
                continue;
            }
            const Train& from = net.train[p.source];
            const int n = from.count[b], seen = cursor[q];
            int* place = along(q);
            for (int k = threadIdx.x; k < n; k += THREADS)
            {
                const int row = from.neuron[in_train(from, k)];
                if (k >= seen) place[k] = 0;
                const std::int64_t entry = p.first[row] + place[k];
                if (entry < p.first[row + 1])
                {
                    const double time = from.t[in_train(from, k)] + p.delay[entry];
                    if (time <= net.duration) soonest = fmin(soonest, time);
                }
            }
        }
        if (threadIdx.x == 0)
            for (int i = 0; i < c->drives; i++)
            {
                const Drive& d = net.drive[c->drive[i]];
                const int at = cursor[net.projections + c->drive[i]];
                if (at < d.knots) soonest = fmin(soonest, d.times[at]);
            }
        for (int i = 0; i < c->populations; i++)
        {
            const Population& p = net.population[c->population[i]];
            for (int j = threadIdx.x; j < p.n; j += THREADS) soonest = fmin(soonest, until[p.neurons + j]);
        }
        soonest = block_min(soonest, s);
        if (threadIdx.x == 0)
            for (int i = 0; i < c->incoming; i++)
            {
                const int q = c->projection[i];
                if (net.projection[q].delayed) cursor[q] = net.train[net.projection[q].source].count[b];
            }
        __syncthreads();
        return soonest;
    }

    SNN_INLINE int round_of(const Train& from, int spike, double delay) const { return delay > 0 ? 0 : from.round[in_train(from, spike)]; }
    static SNN_INLINE bool before(const Arrival& a, const Arrival& y)
    {
        return a.neuron != y.neuron ? a.neuron < y.neuron : a.spike != y.spike ? a.spike < y.spike : a.entry < y.entry;
    }

    // All arrivals of this round of the instant, by projection, then source neuron, spike and connection
    __device__ void collect()
    {
        Arrival* to = tape(c->arrival, c->room.arrivals);
        for (int i = 0; i < c->incoming; i++)
        {
            const int q = c->projection[i], first = s.arrivals;
            const Projection& p = net.projection[q];
            const Train& from = net.train[p.source];
            __syncthreads();
            send(p);
            if (!p.delayed)
            {
                if (threadIdx.x == 0)
                    while (next_common(q) == t && round_of(from, cursor[q], *p.delay) <= round)
                    {
                        if (!room(s.arrivals, c->room.arrivals, kind(1))) break;
                        to[s.arrivals++] = {q, from.neuron[in_train(from, cursor[q])], cursor[q], -1};
                        cursor[q]++;
                    }
            }
            else
            {
                const int n = cursor[q];  // spikes that next() has seen; later ones arrive later
                int* place = along(q);
                for (int k = threadIdx.x; k < n; k += THREADS)
                {
                    const int row = from.neuron[in_train(from, k)];
                    for (std::int64_t entry = p.first[row] + place[k]; entry < p.first[row + 1]; entry++)
                    {
                        if (from.t[in_train(from, k)] + p.delay[entry] != t || round_of(from, k, p.delay[entry]) > round) break;
                        const int slot = atomicAdd(&s.arrivals, 1);
                        if (!room(slot, c->room.arrivals, kind(1))) break;
                        to[slot] = {q, row, k, int(entry)};
                        place[k]++;
                    }
                }
            }
            __syncthreads();
            if (s.full) return;
            const int last = s.arrivals;
            if (last - first > 1) sort(to + first, last - first);
        }
    }
    // Shell's sort by one thread: few meet at one instant
    __device__ void sort(Arrival* a, int n)
    {
        if (threadIdx.x == 0)
        {
            int gap = 1;
            while (gap < n / 3) gap = 3 * gap + 1;
            for (; gap > 0; gap /= 3)
                for (int i = gap; i < n; i++)
                {
                    const Arrival y = a[i];
                    int k = i;
                    for (; k >= gap && before(y, a[k - gap]); k -= gap) a[k] = a[k - gap];
                    a[k] = y;
                }
        }
        __syncthreads();
    }

    // Knots, releases and arrivals of this instant, and the spikes that they cause at once
    __device__ bool begin()
    {
        const int number = s.pieces, arrivals = s.arrivals, releases = s.releases;
        __syncthreads();
        if (threadIdx.x == 0)
        {
            s.raw = 0;
            if (room(number, c->room.pieces, kind(0))) s.pieces++;
        }
        if (c->needs_states) keep_states(number, 0);
        for (int i = 0; i < c->drives; i++) knot(c->drive[i]);
        for (int i = 0; i < c->populations; i++) release(c->population[i]);
        __syncthreads();
        if (s.full) return !failed();
        collect();
        if (failed()) return false;
        const int last = s.arrivals;
        const bool happens = last > arrivals || s.releases > releases;
        if (happens)
        {
            for (int i = 0; i < c->populations; i++) meet(c->population[i], number, arrivals, last, releases);
            if (failed()) return false;
            if (s.raw) emit(tape(c->instant, c->room.instants), &s.instants, c->room.instants, kind(2), true);
        }
        if (failed()) return false;
        if (c->needs_states) keep_states(number, 1);
        if (threadIdx.x == 0)
        {
            if (happens) count_meetings(arrivals, last);
            Piece& piece = tape(c->piece, c->room.pieces)[number];
            piece = {t, t, s.releases, s.arrivals, s.instants, s.owns, s.knots, -1};
        }
        __syncthreads();
        return true;
    }

    // Instants at which several neurons of a population spike
    __device__ void count_together(const Train& of)
    {
        const double* at = of.t + in_train(of, 0);
        for (int k = 1 + threadIdx.x; k < of.count[b]; k += THREADS)
            if (at[k] == at[k - 1] && !(k > 1 && at[k - 2] == at[k])) atomicAdd(&net.ties[b], 1);
    }

    // Instants at which several spikes arrive at a population; looked at in the last of an instant's rounds that has any
    SNN_INLINE void count_meetings(int first, int last)
    {
        const Arrival* of = tape(c->arrival, c->room.arrivals);
        const Piece* piece = tape(c->piece, c->room.pieces);
        int start = first;
        for (int number = s.pieces - 2; number >= 0 && piece[number].t == t; number--) start = number ? piece[number - 1].arrivals : 0;
        for (int i = 0; i < c->populations; i++)
        {
            const Arrival* one = nullptr;
            bool met = false, earlier = false;
            for (int a = start; a < last; a++)
            {
                if (net.projection[of[a].projection].target != c->population[i]) continue;
                if (!one) one = of + a;
                else if (of[a].spike != one->spike || net.projection[of[a].projection].source != net.projection[one->projection].source) met = true;
                if (met && a < first) earlier = true;  // counted in an earlier round
            }
            net.ties[b] += met && !earlier;
        }
    }

    __device__ void keep_states(int number, int after)
    {
        if (number >= c->room.pieces) return;
        std::int64_t at = 0;
        for (int i = 0; i < c->populations; i++)
        {
            const Population& p = net.population[c->population[i]];
            double* to = c->kept + ((std::int64_t(b) * c->room.pieces + number) * 2 + after) * c->states + at;
            for (int j = threadIdx.x; j < p.n; j += THREADS)
                for (int i = 0; i < p.S; i++) to[std::int64_t(i) * p.width + j] = x[p.states + std::int64_t(i) * p.width + j];
            at += std::int64_t(p.S) * p.width;
        }
    }

    __device__ void knot(int number)
    {
        const Drive& d = net.drive[number];
        int& at = cursor[net.projections + number];
        const bool due = at < d.knots && d.times[at] == t;
        if (due)
        {
            const Population& p = net.population[d.population];
            const std::int64_t row = d.row(b, at);
            const bool jumps = d.input >= 0 && d.jumps[at] != 0;
            double *value = state(d.population) + std::int64_t(d.state) * p.width, *slope = value + p.width;
            for (int j = threadIdx.x; j < p.n; j += THREADS)
            {
                const bool turns = jumps && value[j] != d.values[row + j];
                value[j] = d.values[row + j], slope[j] = d.slopes ? d.slopes[row + j] : 0.0;
                if (turns)
                    with_model(p.model, [&](auto tag) {
                        using M = typename decltype(tag)::type;
                        double one[M::S];
                        load<M>(x, d.population, j, one);
                        decide<M>(p, j, d.input, one);
                        keep<M>(x, d.population, j, one);
                    });
            }
        }
        __syncthreads();
        if (due && threadIdx.x == 0) tape(c->knot, c->knots)[s.knots++] = {number, at}, at++;
        __syncthreads();
    }

    __device__ void release(int k)
    {
        const Population& p = net.population[k];
        for (int j = threadIdx.x; j < p.n; j += THREADS)
        {
            if (!(until[p.neurons + j] <= t)) continue;
            const int slot = atomicAdd(&s.releases, 1);
            if (!room(slot, c->room.releases, kind(4))) continue;
            until[p.neurons + j] = INF;
            tape(c->release, c->room.releases)[slot] = {k, j, since[p.neurons + j]};
            double* to = c->released + (std::int64_t(b) * c->room.releases + slot) * net.most;
            for (int i = 0; i < p.S; i++) to[i] = state(k)[std::int64_t(i) * p.width + j];
        }
    }

    // What happens to the neurons of population k at the start of piece `number`
    __device__ void meet(int k, int number, int first, int last, int releases)
    {
        const Population& p = net.population[k];
        const Arrival* arrival = tape(c->arrival, c->room.arrivals);
        const Release* freed = tape(c->release, c->room.releases);
        with_model(p.model, [&](auto tag) {
            using M = typename decltype(tag)::type;
            for (int j = threadIdx.x; j < p.n; j += THREADS)
            {
                const std::int64_t at = p.neurons + j;
                double y[M::S], was[M::S];
                load<M>(x, k, j, y);
                for (int i = 0; i < M::S; i++) was[i] = y[i];
                const bool now_free = held[at] && until[at] == INF;
                if (now_free) held[at] = 0;
                bool touched = now_free, may_fire = now_free;
                for (int a = first; a < last; a++)
                {
                    const Projection& q = net.projection[arrival[a].projection];
                    std::int64_t entry;
                    if (q.target != k || !reaches(q, arrival[a], j, entry)) continue;
                    arrive<M>(p, q.receptor, j, weight(q, arrival[a], entry), y, held[at]);
                    may_fire = may_fire || receptor_fires<M>(q.receptor), touched = true;
                }
                if (!touched) continue;
                if constexpr (M::SPIKING)
                    if (may_fire && !held[at] && is_above<M>(p, j, y)) at_once<M>(k, j, was, y, now_free, first, last, releases, arrival, freed);
                keep<M>(x, k, j, y);
                if (net.maxima && k == net.readout && y[net.observed] != was[net.observed])
                {
                    double rates[M::S];
                    run_rule<M, M::template Rate>(p, j, y, rates);
                    offer(p, j, y[net.observed], JUMP, number, t, rates[net.observed]);
                }
            }
        });
    }

    // A neuron that is above threshold after arrivals, or is released there: it spikes if one of them carried it across
    template <class M> SNN_INLINE void at_once(int k, int j, const double* was, double* y, bool now_free, int first, int last, int releases, const Arrival* arrival, const Release* freed)
    {
        const Population& p = net.population[k];
        const std::int64_t at = p.neurons + j;
        double z[M::S];
        for (int i = 0; i < M::S; i++) z[i] = was[i];
        bool above = is_above<M>(p, j, z), caused = false;
        int cause = -1;
        if (now_free && above)
            for (int r = releases; r < s.releases; r++)
                if (freed[r].population == k && freed[r].neuron == j) cause = -2 - r, caused = true;
        for (int a = first; a < last; a++)
        {
            const Projection& q = net.projection[arrival[a].projection];
            std::int64_t entry;
            if (q.target != k || !reaches(q, arrival[a], j, entry)) continue;
            arrive<M>(p, q.receptor, j, weight(q, arrival[a], entry), z);
            const bool now = is_above<M>(p, j, z);
            if (now && !above) cause = a, caused = true;
            above = now;
        }
        if (!caused) return;  // above by rounding before: the flow crosses at once
        if (fired[at]) return fail(CASCADE, k, j, t);
        fired[at] = 1;
        if (note<M>(k, j, t, cause, SPIKE, y)) after_spike<M>(k, j, t, y);
    }

    // Keeps an event until emit(); false where there is no room
    template <class M> SNN_INLINE bool note(int k, int j, double time, int cause, int kind, const double* y)
    {
        const int slot = atomicAdd(&s.raw, 1);
        if (!room(slot, net.raw_room, net.components * 5 + net.populations)) return false;
        raw[slot] = {time, k, j, cause, kind};
        for (int i = 0; i < M::S; i++) raw_before[std::int64_t(slot) * net.most + i] = y[i];
        return true;
    }

    // The reset of a neuron; false where it stays above threshold
    template <class M> SNN_INLINE bool after_spike(int k, int j, double time, double* y)
    {
        const Population& p = net.population[k];
        double z[M::S];
        run_rule<M, M::template Reset>(p, j, y, z);
        for (int i = 0; i < M::S; i++) y[i] = z[i];
        if constexpr (M::REFRACTORY) held[p.neurons + j] = 1;
        else if constexpr (!M::STAYS)
        {
            double v[3];
            run_rule<M, M::template Search>(p, j, y, v);
            if (v[0] > 0 || (v[0] == 0 && v[1] > 0)) return fail(RESET, k, j, time), false;
        }
        return true;
    }

    // --- events get their places ---------------------------------------------------------------------------------------

    static SNN_INLINE bool before(const Raw& a, const Raw& y) { return a.t != y.t ? a.t < y.t : a.population != y.population ? a.population < y.population : a.neuron < y.neuron; }

    // The events noted in this piece, in order of time, population and neuron, to the tape and to the trains
    __device__ void emit(Own* list, int* have, int most, int which, bool instant)
    {
        const int n = s.raw, first = *have;
        __syncthreads();
        if (threadIdx.x == 0)
        {
            if (!room(first + n - 1, most, which)) {}
            *have = first + n;
        }
        if (first + n > most) return;
        for (int e = threadIdx.x; e < n; e += THREADS)
        {
            const Raw me = raw[e];
            int rank = 0, among = 0, own = 0;
            for (int i = 0; i < n; i++)
            {
                const Raw& other = raw[i];
                // equal ones: a neuron that spikes again at once, which its own thread has noted in order
                const bool earlier = before(other, me) || (i < e && !before(me, other));
                rank += earlier;
                if (other.kind != SPIKE) continue;
                among += earlier && other.population == me.population;
                own += earlier && other.population == me.population && other.neuron == me.neuron;
            }
            const Population& p = net.population[me.population];
            if (me.kind != SPIKE)
            {
                list[first + rank] = {me.t, me.population, me.neuron, me.kind};
                double* to = c->turned + (std::int64_t(b) * c->room.owns + first + rank) * net.most;
                for (int i = 0; i < p.S; i++) to[i] = raw_before[std::int64_t(e) * net.most + i];
                continue;
            }
            const Train& to = train(me.population);
            const int spike = to.count[b] + among;
            list[first + rank] = {me.t, me.population, spike, SPIKE};
            if (spike + 1 > net.max_spikes) { fail(RUNAWAY, me.population, me.neuron, me.t); continue; }
            if (!room(spike, to.room, net.components * 5 + me.population)) continue;
            const std::int64_t at = in_train(to, spike);
            to.t[at] = me.t, to.neuron[at] = me.neuron, to.cause[at] = me.cause;
            to.round[at] = instant ? round + 1 : 0;
            to.place[at] = counts[p.neurons + me.neuron] + own;
            for (int i = 0; i < p.S; i++) to.before[at * p.S + i] = raw_before[std::int64_t(e) * net.most + i];
            if (held[p.neurons + me.neuron])
            {
                double d = 0;
                with_model(p.model, [&](auto tag) { d = duration_of<typename decltype(tag)::type>(p, me.neuron); });
                until[p.neurons + me.neuron] = me.t + d, since[p.neurons + me.neuron] = spike;
            }
        }
        __syncthreads();
        for (int e = threadIdx.x; e < n; e += THREADS)
            if (raw[e].kind == SPIKE) atomicAdd(&counts[net.population[raw[e].population].neurons + raw[e].neuron], 1);
        if (threadIdx.x == 0)
            for (int e = 0; e < n; e++) train(raw[e].population).count[b] += raw[e].kind == SPIKE;
        __syncthreads();
    }

    // --- flow ----------------------------------------------------------------------------------------------------------

    // To the end of the piece, which it returns; a negative number where there is no result
    __device__ double go(double following)
    {
        const double sample = stop < net.stops ? net.stop[stop].t : INF;
        const double bulk = fmin(fmin(following, t + look), fmin(sample, net.duration));
        const int number = s.pieces - 1;
        double limit = bulk;
        for (int i = 0; i < c->populations; i++) limit = fmin(limit, ahead(c->population[i], bulk));
        limit = block_min(limit, s);
        if (threadIdx.x == 0) s.raw = 0;
        if (failed()) return -1;
        for (int i = 0; i < c->populations; i++) follow(c->population[i], number, limit, bulk);
        if (failed()) return -1;
        if (s.raw) emit(tape(c->own, c->room.owns), &s.owns, c->room.owns, kind(3), false);
        if (failed()) return -1;
        if (c->feedback)
        {
            // look ahead about as far as the next spike that feeds back
            look = limit < bulk ? 1.5 * (limit - t) : 2 * look;
            look = fmin(fmax(look, 1e-3 * net.window), net.window);
        }
        if (limit > t) finish(number, limit);
        return limit;
    }

    // When neurons of population k spike next, up to `end`: to `when`. Returns the earliest time at which that may be felt
    __device__ double ahead(int k, double end)
    {
        const Population& p = net.population[k];
        double felt = INF;
        with_model(p.model, [&](auto tag) {
            using M = typename decltype(tag)::type;
            for (int j = threadIdx.x; j < p.n; j += THREADS)
            {
                const std::int64_t at = p.neurons + j;
                when[at] = INF;
                if constexpr (M::EVENTFUL)
                {
                    if (held[at]) continue;
                    double y[M::S], z[M::S], base = t;
                    load<M>(x, k, j, y);
                    for (int turns = 0;; turns++)
                    {
                        const Event e = next_event<M>(net, p, j, y, end - base, true, z);
                        if (e.failure) fail(e.failure, k, j, base);
                        if (e.failure || !(e.time < INF)) break;
                        base = fmin(base + e.time, end);
                        if (e.kind == SPIKE)
                        {
                            when[at] = base;
                            felt = fmin(felt, base + fmin(p.shortest, duration_of<M>(p, j)));
                            break;
                        }
                        if (!turn<M>(p, j, e.kind, z, y)) { fail(SLIDES, k, j, base); break; }
                        if (turns == M::MAX_EVENTS) { fail(TURNS, k, j, base); break; }
                    }
                }
            }
        });
        return felt;
    }

    // Follows the neurons of population k to `limit`, through their events; `end`: how far ahead() has looked
    __device__ void follow(int k, int number, double limit, double end)
    {
        const Population& p = net.population[k];
        with_model(p.model, [&](auto tag) {
            using M = typename decltype(tag)::type;
            for (int j = threadIdx.x; j < p.n; j += THREADS)
            {
                const std::int64_t at = p.neurons + j;
                double y[M::S], z[M::S];
                load<M>(x, k, j, y);
                if constexpr (M::OBSERVED)
                    if (net.maxima && k == net.readout)
                    {
                        const int found = smooth_peaks<M>(net, p, j, y, limit - t, net.peaks.value[std::int64_t(b) * p.width + j],
                            [&](double tau, double value) { offer(p, j, value, INSIDE, number, fmin(t + tau, limit), 0.0); });
                        if (found) fail(found, k, j, t);
                    }
                double base = t, horizon = end;
                int spikes = 0, wrong = NONE;
                if constexpr (M::EVENTFUL)
                    if (!held[at] && (M::LINEAR ? when[at] <= limit : true))
                        while (true)
                        {
                            const Event e = next_event<M>(net, p, j, y, horizon - base, false, z);
                            if (e.failure) fail(e.failure, k, j, base);
                            const double time = fmin(base + e.time, horizon);
                            if (e.failure || !(e.time < INF) || time > limit) break;
                            base = time;
                            if (!note<M>(k, j, time, -1, e.kind, z)) break;
                            if (e.kind != SPIKE)
                            {
                                turn<M>(p, j, e.kind, z, y);
                                continue;
                            }
                            if constexpr (M::SPIKING)
                            {
                                double v[3];
                                run_rule<M, M::template Search>(p, j, z, v);
                                gdot = fmin(gdot, v[1]);
                                for (int i = 0; i < M::S; i++) y[i] = z[i];
                                if (!after_spike<M>(k, j, time, y) || M::REFRACTORY) break;
                                if (++spikes == M::MAX_EVENTS) { fail(SPIKES, k, j, time); break; }
                            }
                            horizon = limit;
                        }
                if (held[at])
                {
                    if constexpr (M::REFRACTORY) wrong = flow<M, typename M::Held>(p, j, limit - base, y, z);
                }
                else wrong = flow<M, M>(p, j, limit - base, y, z);
                if (wrong) fail(wrong, k, j, limit);
                bool finite = true;
                for (int i = 0; i < M::S; i++) finite = finite && std::isfinite(z[i]);
                if (!finite) fail(NOT_FINITE, k, j, limit);
                keep<M>(x, k, j, z);
            }
        });
    }

    // What is read at the end of a piece
    __device__ void finish(int number, double end)
    {
        if (stop < net.stops && end >= net.stop[stop].t)
        {
            for (int r = net.stop[stop].first; r < net.stop[stop].last; r++)
            {
                const Sampling& of = net.sampling[net.reading[r].sampling];
                if (!here(of.population)) continue;
                const Population& p = net.population[of.population];
                for (int j = threadIdx.x; j < p.n; j += THREADS)
                    of.values[(std::int64_t(b) * p.n + j) * of.count + net.reading[r].place] = state(of.population)[std::int64_t(of.state) * p.width + j];
            }
            if (threadIdx.x == 0) tape(c->piece, c->room.pieces)[number].stop = stop;
            stop++;
        }
        if (net.maxima && here(net.readout))
        {
            const Population& p = net.population[net.readout];
            with_model(p.model, [&](auto tag) {
                using M = typename decltype(tag)::type;
                for (int j = threadIdx.x; j < p.n; j += THREADS)
                {
                    double y[M::S], rates[M::S];
                    load<M>(x, net.readout, j, y);
                    run_rule<M, M::template Rate>(p, j, y, rates);
                    if (rates[net.observed] >= 0) offer(p, j, y[net.observed], EDGE, number, end, rates[net.observed]);
                }
            });
        }
    }
    SNN_INLINE void offer(const Population& p, int j, double value, int kind, int piece, double time, double slope)
    {
        const std::int64_t at = std::int64_t(b) * p.width + j;
        if (!(value > net.peaks.value[at])) return;
        net.peaks.value[at] = value, net.peaks.kind[at] = kind, net.peaks.piece[at] = piece;
        net.peaks.time[at] = time, net.peaks.slope[at] = slope;
    }
};

// Spikes of an input by time, then place; those after the end of the trial never come
__global__ void sort_inputs(Network net)
{
    __shared__ int come;
    const Train& to = net.train[blockIdx.y];
    const int b = blockIdx.x, m = to.n * to.per;
    const double* given = to.given + std::int64_t(b) * m;
    if (threadIdx.x == 0) come = 0;
    __syncthreads();
    for (int i = threadIdx.x; i < m; i += blockDim.x)
    {
        const double t = given[i];
        if (!(t < net.duration)) continue;
        int rank = 0;
        for (int k = 0; k < m; k++) rank += given[k] < t || (given[k] == t && k < i);
        const std::int64_t at = std::int64_t(b) * to.room + rank;
        to.t[at] = t, to.neuron[at] = i / to.per, to.place[at] = i, to.round[at] = 0;
        atomicAdd(&come, 1);
    }
    __syncthreads();
    if (threadIdx.x == 0) to.count[b] = come;
}

__global__ void __launch_bounds__(THREADS) forward(Network net)
{
    __shared__ Block block;
    const int b = blockIdx.x;
    if (threadIdx.x == 0)
    {
        net.failure[b] = {NONE, 0, -1, 0.0};
        net.smallest[b] = INF, net.ties[b] = 0;
    }
    __syncthreads();
    if (!Forward(net, block, b).run()) return;
    if (net.maxima)
    {
        const Population& p = net.population[net.readout];
        for (int j = threadIdx.x; j < p.n; j += THREADS) net.maxima_values[std::int64_t(b) * p.n + j] = net.peaks.value[std::int64_t(b) * p.width + j];
    }
}

}  // namespace snn
