// A trial backward in time, one block for it: costates and all gradients, as in targets/numpy/backward.py. A block takes the
// trials of one chunk one after the other and sums into arrays of its own, which are added up in order afterwards: no sum
// depends on which block was faster.
#pragma once
#include "forward.cuh"

namespace snn {

constexpr int MEETING = 16;  // arrivals whose sums over neurons are taken at once

class Backward : Pass
{
public:
    __device__ Backward(const Network& network, Block& block, int chunk_, int trial)
        : Pass(network, block, trial), chunk(chunk_), l(net.costate + trial * net.states), held(net.held + trial * net.neurons) {}

    __device__ void run()
    {
        for (int k = 0; k < net.inputs + net.populations; k++)
        {
            const Train& of = net.train[k];
            const Population* p = k < net.inputs ? nullptr : net.population + k - net.inputs;
            for (int i = threadIdx.x; i < of.count[b]; i += THREADS)
            {
                const std::int64_t at = in_train(of, i);
                double given = 0;
                if (p && p->cotangent && of.place[at] < p->read) given = p->cotangent[(std::int64_t(b) * p->n + of.neuron[at]) * p->read + of.place[at]];
                of.sens[at] = given;
            }
        }
        __syncthreads();
        for (int number = net.components - 1; number >= 0; number--)
        {
            c = net.component + number;
            component();
        }
        if (net.input_gradients)
            for (int k = 0; k < net.inputs; k++)
            {
                const Train& of = net.train[k];
                double* to = of.gradient + std::int64_t(b) * of.n * of.per;
                for (int i = threadIdx.x; i < of.n * of.per; i += THREADS) to[i] = 0;
                __syncthreads();
                for (int i = threadIdx.x; i < of.count[b]; i += THREADS) to[of.place[in_train(of, i)]] = of.sens[in_train(of, i)];
            }
        __syncthreads();
    }

private:
    const int chunk;
    double* l;
    int* held;

    // States before or after what happens at the start of a piece
    template <class M> SNN_INLINE void kept(int k, int j, int number, int after, double* to) const
    {
        std::int64_t at = 0;
        for (int i = 0; c->population[i] != k; i++) at += std::int64_t(net.population[c->population[i]].S) * net.population[c->population[i]].width;
        const Population& p = net.population[k];
        const double* from = c->kept + ((std::int64_t(b) * c->room.pieces + number) * 2 + after) * c->states + at;
        for (int i = 0; i < M::S; i++) to[i] = from[std::int64_t(i) * p.width + j];
    }
    template <class M> SNN_INLINE void add(const Population& p, int j, const double* g) const
    {
        for (int i = 0; i < M::G; i++) p.gradients[(std::int64_t(chunk) * M::G + i) * p.width + j] += g[i];
    }
    SNN_INLINE double* delay_gradient(const Projection& q, std::int64_t entry) const { return q.delay_gradients + (q.delayed ? chunk * q.entries + entry : chunk); }

    // Hands the sensitivity to the time of an event, as it happens to neuron j of population k, on to what sets that time
    __device__ void moves(int cause, double value, int k, int j)
    {
        if (cause <= -2)
        {
            const Release& r = tape(c->release, c->room.releases)[-2 - cause];
            const Population& p = net.population[r.population];
            train(r.population).sens[in_train(train(r.population), r.spike)] += value;
            with_model(p.model, [&](auto tag) {
                using M = typename decltype(tag)::type;
                if constexpr (M::REFRACTORY && M::G > 0)
                {
                    double g[M::G + 1];
                    run_rule<M, M::template DurationBack>(p, j, &value, g);
                    add<M>(p, j, g);
                }
            });
            return;
        }
        moves(tape(c->arrival, c->room.arrivals)[cause], value, j);
    }
    __device__ void moves(const Arrival& a, double value, int j)
    {
        const Projection& q = net.projection[a.projection];
        std::int64_t entry;
        reaches(q, a, j, entry);
        net.train[q.source].sens[in_train(net.train[q.source], a.spike)] += value;
        *delay_gradient(q, entry) += value;
    }

    // --- one component -------------------------------------------------------------------------------------------------

    __device__ void component()
    {
        const int pieces = c->pieces[b];
        const Piece* piece = tape(c->piece, c->room.pieces);
        for (int i = 0; i < c->populations; i++)
        {
            const Population& p = net.population[c->population[i]];
            for (int j = threadIdx.x; j < p.n; j += THREADS)
            {
                held[p.neurons + j] = net.held_end[b * net.neurons + p.neurons + j];
                for (int i = 0; i < p.S; i++) l[p.states + std::int64_t(i) * p.width + j] = 0;
            }
        }
        for (int i = 0; i < c->incoming; i++) begin_sources(net.projection[c->projection[i]]);
        const bool watched = net.maxima && here(net.readout);
        if (watched) find_shifts(pieces);
        __syncthreads();
        for (int number = pieces - 1; number >= 0; number--)
        {
            const Piece last = number ? piece[number - 1] : Piece{0, 0, 0, 0, 0, 0, 0, -1};
            // what the amplitudes of the piece's own spikes give: their arrivals are in later pieces, their times are wanted now
            for (int i = 0; i < c->incoming; i++)
            {
                const Projection& q = net.projection[c->projection[i]];
                if (q.sources >= 0 && here(q.source - net.inputs)) settle(q, first_of(q.source - net.inputs, last, piece[number], q.left[b]));
            }
            if (piece[number].end > piece[number].t && piece[number].stop >= 0) samples(piece[number].stop);
            if (watched) edge(number);
            for (int i = 0; i < c->populations; i++) flow(c->population[i], number, last.owns);
            if (watched) jump(number, last.arrivals);
            __syncthreads();
            if (piece[number].instants > last.instants)
            {
                if (threadIdx.x == 0)
                    for (int e = piece[number].instants - 1; e >= last.instants; e--) at_once(tape(c->instant, c->room.instants)[e]);
                __syncthreads();
            }
            for (int i = 0; i < c->populations; i++) arrivals(c->population[i], number, last.arrivals);
            for (int i = 0; i < c->populations; i++) releases(c->population[i], piece[number].releases, last.releases);
            knots(piece[number].knots, last.knots);
            __syncthreads();
        }
        for (int i = 0; i < c->populations; i++) start(c->population[i]);
        for (int i = 0; i < c->incoming; i++)
        {
            const Projection& q = net.projection[c->projection[i]];
            if (q.sources < 0) continue;
            settle(q, 0);
            start(q.sources);
        }
        __syncthreads();
    }

    // --- states of sources ---------------------------------------------------------------------------------------------

    __device__ void begin_sources(const Projection& q)
    {
        if (q.sources < 0) return;
        const Population& p = net.population[q.sources];
        const Train& from = net.train[q.source];
        const int n = q.sent[b];
        for (int k = threadIdx.x; k < n; k += THREADS) q.error[in_train(from, k)] = 0;
        for (int j = threadIdx.x; j < p.n; j += THREADS)
            for (int i = 0; i < p.S; i++) l[p.states + std::int64_t(i) * p.width + j] = 0;
        if (threadIdx.x == 0) q.left[b] = n;
    }
    // The first spike of a population in a piece, `otherwise` if there is none
    __device__ int first_of(int k, const Piece& last, const Piece& piece, int otherwise) const
    {
        const Own *instant = tape(c->instant, c->room.instants), *own = tape(c->own, c->room.owns);
        for (int e = last.instants; e < piece.instants; e++)
            if (instant[e].population == k && instant[e].kind == SPIKE) return instant[e].spike;
        for (int e = last.owns; e < piece.owns; e++)
            if (own[e].population == k && own[e].kind == SPIKE) return own[e].spike;
        return otherwise;
    }
    // Hands on what the amplitudes of the spikes from one on give to their times and to parameters
    __device__ void settle(const Projection& q, int first)
    {
        const int left = q.left[b];
        if (left <= first) return;
        const Population& p = net.population[q.sources];
        const Train& from = net.train[q.source];
        with_model(p.model, [&](auto tag) {
            using M = typename decltype(tag)::type;
            for (int k = left - 1; k >= first; k--)
            {
                const std::int64_t at = in_train(from, k);
                const int j = from.neuron[at];
                if (j % THREADS != int(threadIdx.x)) continue;
                double y[M::S], none = 0;
                load<M>(l, q.sources, j, y);
                y[M::S - 1] += q.error[at];
                // the interval before the spike and the one after it move with its time
                from.sens[at] += arrival_back<M>(p, 0, j, 1.0, q.due + at * M::S, y, none);
                back<M, M>(p, j, q.interval[at], q.begun + at * M::S, y);
                keep<M>(l, q.sources, j, y);
            }
        });
        __syncthreads();
        if (threadIdx.x == 0) q.left[b] = first;
        __syncthreads();
    }

    __device__ void start(int k)
    {
        const Population& p = net.population[k];
        with_model(p.model, [&](auto tag) {
            using M = typename decltype(tag)::type;
            for (int j = threadIdx.x; j < p.n; j += THREADS)
            {
                double y[M::S], g[M::G + 1];
                load<M>(l, k, j, y);
                if (net.maxima && k == net.readout && peak_kind(j) == START) y[net.observed] += pull(j);
                if constexpr (M::G > 0)
                {
                    run_rule<M, M::template InitialBack>(p, j, y, g);
                    add<M>(p, j, g);
                }
            }
        });
    }

    // --- what the loss reads -------------------------------------------------------------------------------------------

    __device__ void samples(int stop)
    {
        for (int r = net.stop[stop].first; r < net.stop[stop].last; r++)
        {
            const Sampling& of = net.sampling[net.reading[r].sampling];
            if (!here(of.population)) continue;
            const Population& p = net.population[of.population];
            for (int j = threadIdx.x; j < p.n; j += THREADS)
                l[p.states + std::int64_t(of.state) * p.width + j] += of.error[(std::int64_t(b) * p.n + j) * of.count + net.reading[r].place];
        }
    }

    SNN_INLINE std::int64_t peak_at(int j) const { return std::int64_t(b) * net.population[net.readout].width + j; }
    SNN_INLINE int peak_kind(int j) const { return net.peaks.kind[peak_at(j)]; }
    SNN_INLINE bool peaks_in(int j, int kind, int number) const { return peak_kind(j) == kind && net.peaks.piece[peak_at(j)] == number; }
    SNN_INLINE double pull(int j) const { return net.maxima_error[std::int64_t(b) * net.population[net.readout].n + j]; }
    SNN_INLINE double& watched_costate(int j) const
    {
        const Population& p = net.population[net.readout];
        return l[p.states + std::int64_t(net.observed) * p.width + j];
    }

    // Of an output neuron whose maximum, just before an instant, moves with an arrival there: the piece before the round in
    // which that arrives, kept where the forward pass had room for it; -1 for others
    __device__ void find_shifts(int pieces)
    {
        const Population& p = net.population[net.readout];
        const Piece* piece = tape(c->piece, c->room.pieces);
        for (int j = threadIdx.x; j < p.n; j += THREADS)
        {
            int& found = net.since[b * net.neurons + p.neurons + j];
            found = -1;
            if (peak_kind(j) != EDGE) continue;
            const int first = net.peaks.piece[peak_at(j)] + 1;
            for (int m = first; m < pieces && piece[m].t == piece[first].t && found < 0; m++)
                if (first_arrival(j, piece[m - 1].arrivals, piece[m].arrivals) >= 0) found = m - 1;
        }
    }
    // The first arrival of a piece that reaches an output neuron, -1 if there is none
    __device__ int first_arrival(int j, int first, int last) const
    {
        std::int64_t entry;
        for (int a = first; a < last; a++)
        {
            const Arrival& one = tape(c->arrival, c->room.arrivals)[a];
            const Projection& q = net.projection[one.projection];
            if (q.target == net.readout && reaches(q, one, j, entry)) return a;
        }
        return -1;
    }

    __device__ void edge(int number)
    {
        const Population& p = net.population[net.readout];
        const Piece* piece = tape(c->piece, c->room.pieces);
        bool any = false;
        for (int j = threadIdx.x; j < p.n; j += THREADS)
        {
            if (peaks_in(j, EDGE, number)) watched_costate(j) += pull(j);
            any = any || net.since[b * net.neurons + p.neurons + j] == number;
        }
        if (!__syncthreads_or(any)) return;
        if (threadIdx.x == 0)
            for (int j = 0; j < p.n; j++)
                if (net.since[b * net.neurons + p.neurons + j] == number) with_arrivals(j, number + 1, piece[number].arrivals, false);
        __syncthreads();
    }
    __device__ void jump(int number, int first)
    {
        const Population& p = net.population[net.readout];
        bool any = false;
        for (int j = threadIdx.x; j < p.n; j += THREADS)
            if (peaks_in(j, JUMP, number)) watched_costate(j) += pull(j), any = true;
        if (!__syncthreads_or(any)) return;
        if (threadIdx.x == 0)
            for (int j = 0; j < p.n; j++)
                if (peaks_in(j, JUMP, number)) with_arrivals(j, number, first, true);
        __syncthreads();
    }
    // The value at a kink, before or after the arrivals of a piece, moves with these
    __device__ void with_arrivals(int j, int number, int first, bool after)
    {
        const Piece& piece = tape(c->piece, c->room.pieces)[number];
        const Arrival* of = tape(c->arrival, c->room.arrivals);
        const Population& p = net.population[net.readout];
        with_model(p.model, [&](auto tag) {
            using M = typename decltype(tag)::type;
            int at = first;
            const auto each = [&](auto f) {
                int k = 0;
                std::int64_t entry;
                for (at = first; at < piece.arrivals; at++)
                {
                    const Projection& q = net.projection[of[at].projection];
                    if (q.target != net.readout || !reaches(q, of[at], j, entry)) continue;
                    double change = 0;
                    bool jumps = false;
                    M::receptor(q.receptor, [&](auto r) {
                        using R = decltype(r);
                        double in[2 * M::S + 1] = {}, out[2 + M::S + M::G];
                        if (R::READS) before_arrival<M>(net.readout, j, number, first, at, false, in);
                        for (int i = 0; i < M::S; i++) in[M::S + i] = i == net.observed;
                        in[2 * M::S] = weight(q, of[at], entry);
                        run_rule<M, R::template ArriveBack>(p, j, in, out);
                        constexpr bool moved = R::JUMPS[M::SEEN];
                        change = out[1], jumps = moved;
                    });
                    f(k++, change, jumps);
                }
            };
            kink(net.peaks.slope[peak_at(j)], after, !(piece.t < net.duration), each,
                 [&](int, double share) { moves(of[at], pull(j) * share, j); });
        });
    }

    // --- flow ----------------------------------------------------------------------------------------------------------

    // A time s back along the flow of the rules R, from the states x there
    template <class M, class R> SNN_INLINE void back(const Population& p, int j, double s, const double* x, double* y) const
    {
        if (!(s > 0)) return;
        bool any = false;
        for (int i = 0; i < M::S; i++) any = any || y[i] != 0;
        if (!any) return;
        double g[M::G + 1];
        if constexpr (!R::LINEAR) steps_back<M, R>(p, j, s, x, y, g);
        else
        {
            if constexpr (reads_states<R>())
            {
                double both[2 * M::S];
                for (int i = 0; i < M::S; i++) both[i] = x[i], both[M::S + i] = y[i];
                rule_of<R, R::template Gradient>(p, j).at(s).run(both, g);
            }
            double out[M::S];
            rule_of<R, R::template Back>(p, j).at(s).run(y, out);
            for (int i = 0; i < M::S; i++) y[i] = out[i];
        }
        if constexpr (M::G > 0 && reads_states<R>()) add<M>(p, j, g);
    }

    __device__ void flow(int k, int number, int first)
    {
        const Population& p = net.population[k];
        const Piece& piece = tape(c->piece, c->room.pieces)[number];
        const Own* own = tape(c->own, c->room.owns);
        const Train& spikes = train(k);
        with_model(p.model, [&](auto tag) {
            using M = typename decltype(tag)::type;
            for (int j = threadIdx.x; j < p.n; j += THREADS)
            {
                const std::int64_t at = p.neurons + j;
                double y[M::S], x[M::S];
                load<M>(l, k, j, y);
                double time = piece.end;
                bool spiked = false;
                if constexpr (M::EVENTFUL)
                    for (int e = piece.owns - 1; e >= first; e--)
                    {
                        if (own[e].population != k) continue;
                        const bool spike = own[e].kind == SPIKE;
                        if ((spike ? spikes.neuron[in_train(spikes, own[e].spike)] : own[e].spike) != j) continue;
                        const double* before = spike ? spikes.before + in_train(spikes, own[e].spike) * p.S
                                                     : c->turned + (std::int64_t(b) * c->room.owns + e) * net.most;
                        if (!spike)
                        {
                            M::transition(own[e].kind, [&](auto r) { run_turn<M, decltype(r)>(p, j, before, x); });
                            back<M, M>(p, j, time - own[e].t, x, y);
                            turn_back<M>(k, j, own[e], before, y);
                        }
                        else if constexpr (M::SPIKING)
                        {
                            run_rule<M, M::template Reset>(p, j, before, x);
                            if constexpr (M::REFRACTORY) back<M, typename M::Held>(p, j, time - own[e].t, x, y);
                            else back<M, M>(p, j, time - own[e].t, x, y);
                            crossing_back<M>(k, j, own[e], before, y);
                        }
                        time = own[e].t, spiked = true;
                    }
                if (spiked) held[at] = 0;
                // states at the start are kept where they are read, but for refractory neurons that is not their own rules' matter
                if constexpr (reads_states<M>()) kept<M>(k, j, number, 1, x);
                if (net.maxima && k == net.readout && !spiked && peaks_in(j, INSIDE, number))
                {
                    const double top = net.peaks.time[peak_at(j)];
                    double there[M::S];
                    for (int i = 0; i < M::S; i++) there[i] = 0;
                    if constexpr (reads_states<M>()) snn::flow<M, M>(p, j, top - piece.t, x, there);
                    back<M, M>(p, j, time - top, there, y);
                    y[net.observed] += pull(j);
                    time = top;
                }
                if constexpr (M::REFRACTORY)
                {
                    if (held[at])
                    {
                        if constexpr (reads_states<typename M::Held>()) kept<M>(k, j, number, 1, x);
                        back<M, typename M::Held>(p, j, time - piece.t, x, y);
                        keep<M>(l, k, j, y);
                        continue;
                    }
                }
                back<M, M>(p, j, time - piece.t, x, y);
                keep<M>(l, k, j, y);
            }
        });
    }

    // The costates just before a spike by crossing, from those just after it
    template <class M> SNN_INLINE void crossing_back(int k, int j, const Own& e, const double* before, double* y)
    {
        const Population& p = net.population[k];
        double in[2 * M::S + 1], out[M::S + M::G + 2];
        for (int i = 0; i < M::S; i++) in[i] = before[i], in[M::S + i] = y[i];
        in[2 * M::S] = train(k).sens[in_train(train(k), e.spike)];
        run_rule<M, M::template Sigma>(p, j, in, out);
        const double sigma = out[0], gdot = out[1];
        if (gdot == 0 && sigma != 0) net.failure[b] = {FLAT, k, j, e.t};
        in[2 * M::S] = gdot != 0 ? sigma / gdot : 0.0;
        run_rule<M, M::template SpikeBack>(p, j, in, out);
        for (int i = 0; i < M::S; i++) y[i] = out[i];
        add<M>(p, j, out + M::S);
    }

    // The same for an event that is no spike
    template <class M> SNN_INLINE void turn_back(int k, int j, const Own& e, const double* before, double* y)
    {
        const Population& p = net.population[k];
        M::transition(e.kind, [&](auto r) {
            double in[2 * M::S + 1], out[M::S + M::G + 2];
            for (int i = 0; i < M::S; i++) in[i] = before[i], in[M::S + i] = y[i];
            run_turn_sigma<M, decltype(r)>(p, j, in, out);
            const double sigma = out[0], gdot = out[1];
            if (gdot == 0 && sigma != 0) net.failure[b] = {FLAT_TURN, k, j, e.t};
            in[2 * M::S] = gdot != 0 ? sigma / gdot : 0.0;
            run_turn_back<M, decltype(r)>(p, j, in, out);
            for (int i = 0; i < M::S; i++) y[i] = out[i];
            add<M>(p, j, out + M::S);
        });
    }

    // --- the start of a piece ------------------------------------------------------------------------------------------

    // A spike at an event: it moves with that, and where the threshold is does not matter. By one thread, event after event
    __device__ void at_once(const Own& e)
    {
        const int k = e.population;
        const Population& p = net.population[k];
        const Train& spikes = train(k);
        const std::int64_t at = in_train(spikes, e.spike);
        const int j = spikes.neuron[at];
        with_model(p.model, [&](auto tag) {
            using M = typename decltype(tag)::type;
            if constexpr (M::SPIKING)
            {
                double in[2 * M::S + 1], out[M::S + M::G + 2], y[M::S];
                load<M>(l, k, j, y);
                for (int i = 0; i < M::S; i++) in[i] = spikes.before[at * p.S + i], in[M::S + i] = y[i];
                in[2 * M::S] = spikes.sens[at];
                run_rule<M, M::template Sigma>(p, j, in, out);
                moves(spikes.cause[at], out[0], k, j);
                in[2 * M::S] = 0;
                run_rule<M, M::template SpikeBack>(p, j, in, out);
                keep<M>(l, k, j, out);
                add<M>(p, j, out + M::S);
                held[p.neurons + j] = 0;
            }
        });
    }

    template <class M> SNN_INLINE double arrival_back(const Population& p, int receptor, int j, double w, const double* x, double* y, double& gw) const
    {
        double sensitivity = 0;
        M::receptor(receptor, [&](auto r) {
            using R = decltype(r);
            double in[2 * M::S + 1], out[2 + M::S + M::G];
            for (int i = 0; i < M::S; i++) in[i] = x[i], in[M::S + i] = y[i];
            in[2 * M::S] = w;
            run_rule<M, R::template ArriveBack>(p, j, in, out);
            gw += out[0], sensitivity = out[1];
            for (int i = 0; i < M::S; i++) y[i] = out[2 + i];
            add<M>(p, j, out + 2 + M::S);
        });
        return sensitivity;
    }
    template <class M> static SNN_INLINE bool receptor_reads(int receptor)
    {
        bool yes = false;
        M::receptor(receptor, [&](auto r) { yes = decltype(r)::READS; });
        return yes;
    }

    __device__ void arrivals(int k, int number, int first)
    {
        const Arrival* of = tape(c->arrival, c->room.arrivals);
        const int last = tape(c->piece, c->room.pieces)[number].arrivals;
        for (int top = last; top > first; top -= MEETING)
        {
            const int low = top - MEETING > first ? top - MEETING : first;
            bool summed = false;
            for (int a = top - 1; a >= low; a--)
            {
                const Projection& q = net.projection[of[a].projection];
                if (q.target != k) continue;
                double by_amplitude = 0;
                const double sum = arrival(k, number, first, a, by_amplitude);
                if (!q.timed && q.sources < 0) continue;
                summed = true;
                const double warps = warp_sum(sum), others = q.sources < 0 ? 0.0 : warp_sum(by_amplitude);
                if (threadIdx.x % 32 == 0) s.real[(a - low) * WARPS + threadIdx.x / 32] = warps, s.other[(a - low) * WARPS + threadIdx.x / 32] = others;
            }
            if (!summed) continue;
            __syncthreads();
            if (threadIdx.x == 0)
                for (int a = top - 1; a >= low; a--)
                {
                    const Projection& q = net.projection[of[a].projection];
                    if (q.target != k || (!q.timed && q.sources < 0)) continue;
                    double sum = 0, by_amplitude = 0;
                    for (int w = 0; w < WARPS; w++) sum += s.real[(a - low) * WARPS + w], by_amplitude += s.other[(a - low) * WARPS + w];
                    const std::int64_t at = in_train(net.train[q.source], of[a].spike);
                    if (q.sources >= 0) q.error[at] += by_amplitude;
                    if (!q.timed) continue;
                    net.train[q.source].sens[at] += sum;
                    if (!q.delayed) *delay_gradient(q, 0) += sum;
                }
            __syncthreads();
        }
    }

    // An arrival at the neurons of this thread; the sum of the sensitivities to its time, and to its amplitude
    __device__ double arrival(int k, int number, int first, int a, double& by_amplitude)
    {
        const Population& p = net.population[k];
        const Arrival* of = tape(c->arrival, c->room.arrivals);
        const Projection& q = net.projection[of[a].projection];
        double sum = 0;
        with_model(p.model, [&](auto tag) {
            using M = typename decltype(tag)::type;
            for (int j = threadIdx.x; j < p.n; j += THREADS)
            {
                std::int64_t entry;
                if (!reaches(q, of[a], j, entry)) continue;
                double y[M::S], x[M::S];
                load<M>(l, k, j, y);
                const bool is_held = held[p.neurons + j];
                for (int i = 0; i < M::S; i++) x[i] = 0;
                if (c->needs_states && receptor_reads<M>(q.receptor)) before_arrival<M>(k, j, number, first, a, is_held, x);
                double gw = 0, one = 0;
                bool done = false;
                const double w = weight(q, of[a], entry);
                if constexpr (M::REFRACTORY)
                    if (is_held) one = arrival_back<typename M::Held>(p, q.receptor, j, w, x, y, gw), done = true;
                if (!done) one = arrival_back<M>(p, q.receptor, j, w, x, y, gw);
                const double by = q.sources < 0 ? 1.0 : q.amplitude[in_train(net.train[q.source], of[a].spike)];
                q.weight_gradients[chunk * q.entries + entry] += gw * by;
                by_amplitude += gw * q.weight[entry];
                if (q.delayed) *delay_gradient(q, entry) += one;
                sum += one;
                keep<M>(l, k, j, y);
            }
        });
        return sum;
    }

    // The states of a neuron just before an arrival of a piece
    template <class M> SNN_INLINE void before_arrival(int k, int j, int number, int first, int a, bool is_held, double* x) const
    {
        const Population& p = net.population[k];
        const Piece* piece = tape(c->piece, c->room.pieces);
        kept<M>(k, j, number, 0, x);
        for (int i = number ? piece[number - 1].knots : 0; i < piece[number].knots; i++)
        {
            const Knot& knot = tape(c->knot, c->knots)[i];
            const Drive& d = net.drive[knot.drive];
            if (d.population != k) continue;
            const std::int64_t at = d.row(b, knot.number) + j;
            const bool turns = d.input >= 0 && d.jumps[knot.number] != 0 && x[d.state] != d.values[at];
            x[d.state] = d.values[at], x[d.state + 1] = d.slopes ? d.slopes[at] : 0.0;
            if (turns) decide<M>(p, j, d.input, x);
        }
        for (int i = first; i < a; i++)
        {
            const Arrival& one = tape(c->arrival, c->room.arrivals)[i];
            const Projection& q = net.projection[one.projection];
            std::int64_t entry;
            if (q.target == k && reaches(q, one, j, entry)) arrive<M>(p, q.receptor, j, weight(q, one, entry), x, is_held);
        }
    }

    __device__ void releases(int k, int last, int first)
    {
        const Population& p = net.population[k];
        with_model(p.model, [&](auto tag) {
            using M = typename decltype(tag)::type;
            if constexpr (M::REFRACTORY)
            {
                const Release* of = tape(c->release, c->room.releases);
                for (int r = first; r < last; r++)
                {
                    const int j = of[r].neuron;
                    if (of[r].population != k || j % THREADS != int(threadIdx.x)) continue;
                    double in[2 * M::S], sensitivity;
                    const double* x = c->released + (std::int64_t(b) * c->room.releases + r) * net.most;
                    for (int i = 0; i < M::S; i++) in[i] = x[i];
                    load<M>(l, k, j, in + M::S);
                    run_rule<M, M::template Release>(p, j, in, &sensitivity);
                    train(k).sens[in_train(train(k), of[r].spike)] += sensitivity;
                    if constexpr (M::G > 0)
                    {
                        double g[M::G];
                        run_rule<M, M::template DurationBack>(p, j, &sensitivity, g);
                        add<M>(p, j, g);
                    }
                    held[p.neurons + j] = 1;
                }
            }
        });
    }

    // Driven inputs are set at the start of a piece: what they were before does not matter any more
    __device__ void knots(int last, int first)
    {
        for (int i = first; i < last; i++)
        {
            const Knot& knot = tape(c->knot, c->knots)[i];
            const Drive& d = net.drive[knot.drive];
            const Population& p = net.population[d.population];
            const std::int64_t row = d.gradient_row(b, knot.number);
            double* value = l + p.states + std::int64_t(d.state) * p.width;
            double* slope = value + p.width;
            for (int j = threadIdx.x; j < p.n; j += THREADS)
            {
                if (d.value_gradient) d.value_gradient[row + j] = value[j];
                if (d.slope_gradient) d.slope_gradient[row + j] = slope[j];
                value[j] = slope[j] = 0;
            }
        }
    }
};

__global__ void __launch_bounds__(THREADS) backward(Network net)
{
    __shared__ Block block;
    const int chunk = blockIdx.x;
    for (int k = 0; k < net.projections; k++)
    {
        const Projection& q = net.projection[k];
        for (std::int64_t i = threadIdx.x; i < q.entries; i += THREADS)
        {
            q.weight_gradients[chunk * q.entries + i] = 0;
            if (q.delayed) q.delay_gradients[chunk * q.entries + i] = 0;
        }
        if (!q.delayed && threadIdx.x == 0) q.delay_gradients[chunk] = 0;
    }
    for (int k = 0; k < net.groups; k++)
    {
        const Population& p = net.population[k];
        for (std::int64_t i = threadIdx.x; i < std::int64_t(p.G) * p.width; i += THREADS) p.gradients[std::int64_t(chunk) * p.G * p.width + i] = 0;
    }
    __syncthreads();
    const int first = int(std::int64_t(chunk) * net.trials / net.chunks), last = int(std::int64_t(chunk + 1) * net.trials / net.chunks);
    for (int b = first; b < last; b++) Backward(net, block, chunk, b).run();
}

// The sums of all chunks, in order
__global__ void reduce(const double* parts, double* to, std::int64_t n, int chunks)
{
    const std::int64_t i = std::int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i >= n) return;
    double sum = 0;
    for (int c = 0; c < chunks; c++) sum += parts[c * n + i];
    to[i] = sum;
}

}  // namespace snn
