// Populations to which nothing that they do comes back: all that arrives is known before, so that a trial is one sweep over
// the pieces between arrivals; and in reverse, costates change at a neuron's own events alone, so that they are kept as they
// are at one later time, and what an arrival asks for is computed from there. The same spikes and gradients as those of the
// general way, to rounding; for models with flows in closed form (a series holds forward alone), the same parameters for all
// neurons, no refractoriness, and no gradients of parameters.
#pragma once
#include <tuple>
#include "network.h"
#include "population.h"

namespace snn {

template <class M> class SweptPopulation : public Population<M>
{
    using Base = Population<M>;
    using K = typename Base::K;
    using Base::S_, Base::width, Base::index, Base::observed, Base::x, Base::l, Base::flow, Base::back_, Base::hot, Base::ladder, Base::clock;
    using Base::take, Base::put, Base::prepare, Base::costate;
    static constexpr bool SWEEPS = M::SHARED && !M::SERIES && !M::REFRACTORY && M::G == 0 && !M::NEEDS_STATES;
    static constexpr int ROWS = 4;  // of one instant that go through costates together

public:
    bool sweeps() const override { return SWEEPS; }
    bool sweeps(int r) const override
    {
        bool yes = false;
        M::receptor(r, [&](auto q) { using R = decltype(q); yes = !R::READS && R::KEEPS && !(R::FIRES && M::SPIKING); });
        return yes;
    }

    void refresh() override
    {
        Base::refresh();
        if constexpr (SWEEPS)
        {
            span = 8 * ladder.longest;
            while (!keeps_digits(span)) span /= 2;
            std::apply([&](auto&... rule) { (this->prepare(rule, 0), ...); }, arrive_back_);
        }
    }

    void sweep(const Sweep& of) override
    {
        if constexpr (SWEEPS)
        {
            const int pieces = int(of.tape.pieces.size());
            int a = 0;
            if constexpr (M::SPIKING)
                if (width <= FEW && one_receptor(of, 0, pieces, 0))
                {
                    M::receptor(of.of(of.tape.arrivals[0]).receptor, [&](auto q) { width == LANES ? few<decltype(q), 1>(of) : few<decltype(q), 2>(of); });
                    return;
                }
            for (int first = 0; first < pieces; first += LANES)
            {
                D8 length = all(0);
                const int m = std::min(LANES, pieces - first);
                for (int k = 0; k < m; k++) length[k] = of.tape.pieces[first + k].end - of.tape.pieces[first + k].t;
                const auto flows = flow[0].at(length);
                if constexpr (!M::SPIKING && M::OBSERVED)
                    if (of.maxima && one_receptor(of, first, m, a))
                    {
                        follow_maxima(of, first, m, a, flows);
                        a = of.tape.pieces[first + m - 1].arrivals;
                        continue;
                    }
                for (int k = 0; k < m; k++) a = advance(of, first + k, a, one(flow[0], flows, k));
            }
        }
    }

    void sweep_back(const Sweep& of) override
    {
        if constexpr (SWEEPS)
        {
            l.fill(0);
            now = of.net.duration, active = false;
            ahead.first = ends.first = -1;
            pulls.clear();
            if (of.maxima)
                for (int j = 0; j < Base::n; j++)
                    if (const Peak& p = of.trial.peaks[j]; p.kind != Peak::START && of.loss->maxima[j] != 0) pulls.push_back({p.piece, p.time, j});
            std::sort(pulls.begin(), pulls.end());
            for (int n = int(of.tape.pieces.size()) - 1; n >= 0;)
                if (const int m = single_arrivals(of, n); m > 1) n -= pieces_back(of, n, m);
                else piece_back(of, n--);
        }
    }

private:
    // the stages of a rule for one of eight times
    template <class R, class A> static SNN_INLINE auto one(const R& rule, const A& eight, int lane)
    {
        decltype(rule.at(0.0)) a;
        a.of = &rule;
        for (std::size_t k = 0; k < std::size(a.c); k++) a.c[k] = eight.c[k][lane];
        return a;
    }

    // --- forward -------------------------------------------------------------------------------------------------------

    // Piece n, to which arrivals from `a` on belong; returns the first of the next
    template <class F> int advance(const Sweep& of, int n, int a, const F& f)
    {
        Piece& piece = of.tape.pieces[n];
        const double s = piece.end - piece.t;
        clock = piece.t;
        rows.clear();
        int receptor = -1;
        for (; a < piece.arrivals; a++)
        {
            const Projection& p = of.of(of.tape.arrivals[a]);
            if (p.receptor != receptor) arrive(receptor);
            receptor = p.receptor;
            rows.push_back(p.weight + of.row(of.tape.arrivals[a]));
        }
        piece.owns = int(of.tape.owns.size());
        if (!(s > 0)) return arrive(receptor), a;
        // which rows come next, no processor can guess: one is fetched beside each that is read
        coming.clear();
        for (int k = 0; k < int(rows.size()); k++)
        {
            const Arrival& next = of.tape.arrivals[std::min(a + k, int(of.tape.arrivals.size()) - 1)];
            coming.push_back(of.of(next).weight + of.row(next));
        }
        const int level = ladder.level(s);
        if (rows.empty()) pass(of, n, s, level, f, typename Base::Nothing());
        else
            M::receptor(receptor, [&](auto q) {
                typename decltype(q)::template Arrive<double> rule;
                prepare(rule, 0);
                const auto arrive = rule.at(0.0);
                pass(of, n, s, level, f, [&](int j, auto& states) {
                    constexpr int B = std::extent_v<std::remove_reference_t<decltype(states)>>;
                    for (std::size_t k = 0; k < rows.size(); k++)
                        SNN_IN_REGISTERS for (int b = 0; b < B; b++)
                        {
                            const double* row = rows[k];
                            __builtin_prefetch(coming[k] + j + b * LANES);
                            D8 in[S_ + 1];
                            SNN_IN_REGISTERS for (int i = 0; i < S_; i++) in[i] = states[b][i];
                            in[S_] = load8(row + j + b * LANES);
                            arrive.run(in, states[b]);
                        }
                });
            });
        if constexpr (M::SPIKING)
            if (hot.n)
            {
                Train& train = of.trial.trains[of.net.inputs + index];
                const int from = train.size();
                Base::search(s);
                Base::settle(piece.t, s, piece.end, train);
                for (int k = from; k < train.size(); k++) of.tape.own(train.t[k], index, k);
            }
        piece.owns = int(of.tape.owns.size());
        return a;
    }

    // A population of few vectors, of which the states stay in registers, and who may cross where it is
    static constexpr int FEW = 2 * LANES;
    template <class R, int V> __attribute__((noinline)) void few(const Sweep& of)
    {
        ComponentTape& tape = of.tape;
        Train& train = of.trial.trains[of.net.inputs + index];
        typename R::template Arrive<double> rule;
        prepare(rule, 0);
        const auto arrive = rule.at(0.0);
        const auto slopes = Base::rate[0].at(0.0);
        const auto event = Base::event_at();
        const int pieces = int(tape.pieces.size());
        D8 state[V][S_ + 1];
        SNN_IN_REGISTERS for (int b = 0; b < V; b++) take(x.begin(), b * LANES, state[b]);
        int a = 0;
        for (int first = 0; first < pieces; first += LANES)
        {
            D8 length = all(0);
            const int m = std::min(LANES, pieces - first);
            for (int k = 0; k < m; k++) length[k] = tape.pieces[first + k].end - tape.pieces[first + k].t;
            const auto flows = flow[0].at(length);
            for (int k = 0; k < m; k++)
            {
                Piece& piece = tape.pieces[first + k];
                const double s = piece.end - piece.t;
                for (; a < piece.arrivals; a++)
                {
                    const double* row = of.of(tape.arrivals[a]).weight + of.row(tape.arrivals[a]);
                    SNN_IN_REGISTERS for (int b = 0; b < V; b++)
                    {
                        D8 after[S_];
                        state[b][S_] = load8(row + b * LANES);
                        arrive.run(state[b], after);
                        SNN_IN_REGISTERS for (int i = 0; i < S_; i++) state[b][i] = after[i];
                    }
                }
                const int from = train.size();
                if (s > 0)
                {
                    const int level = ladder.level(s);
                    const auto f = one(flow[0], flows, k);
                    SNN_IN_REGISTERS for (int b = 0; b < V; b++)
                    {
                        D8 d[S_], g, to[S_];
                        slopes.run(state[b], d), event.run(state[b], &g);
                        SNN_IN_REGISTERS for (int i = 0; i < S_; i++) g += larger(Base::bound(Base::bounds, level, 0, i, 0) * d[i], Base::bound(Base::bounds, level, 1, i, 0) * d[i]);
                        f.run(state[b], to);
                        if (const unsigned marked = bits_above(g, all(0)) & ones_below(std::max(0, Base::n - b * LANES)))
                            Base::cross_all(b * LANES, marked, piece.t, s, piece.end, level, state[b], to, train);
                        SNN_IN_REGISTERS for (int i = 0; i < S_; i++) state[b][i] = to[i];
                    }
                    if (train.size() > from + 1) Base::sort(train, from, S_);
                    for (int o = from; o < train.size(); o++) tape.own(train.t[o], index, o);
                }
                piece.owns = int(tape.owns.size());
            }
        }
        SNN_IN_REGISTERS for (int b = 0; b < V; b++) put(x.begin(), b * LANES, state[b]);
    }

    // what came to another receptor at the same instant
    void arrive(int receptor)
    {
        for (const double* row : rows) Base::arrive(receptor, {row, nullptr, width});
        rows.clear();
    }

    template <class F, class ADD> SNN_INLINE void pass(const Sweep& of, int n, double s, int level, const F& f, const ADD& add)
    {
        if constexpr (M::SPIKING)
        {
            hot.n = 0;
            Base::template pass<true, true>(f, level, add);
        }
        else if (!of.maxima) Base::template pass<false, true>(f, level, add);
        else if constexpr (M::OBSERVED)
            for (int j = 0; j < width; j += LANES)
            {
                D8 from[1][S_], to[S_];
                take(x.begin(), j, from[0]);
                add(j, from);
                f.run(from[0], to);
                put(x.begin(), j, to);
                Base::block_peaks(j, level, from[0], to, Base::ceiling(j, level, from[0]), of.tape.pieces[n].t, s, n);
            }
    }

    // Whether m pieces from `first` on have arrivals at one receptor alone
    bool one_receptor(const Sweep& of, int first, int m, int a) const
    {
        const int end = of.tape.pieces[first + m - 1].arrivals;
        for (int k = a + 1; k < end; k++) if (of.of(of.tape.arrivals[k]).receptor != of.of(of.tape.arrivals[a]).receptor) return false;
        return end > a;
    }

    // Up to eight pieces from `first` on, for the maxima of what does not spike: eight neurons go through all of them
    template <class F> void follow_maxima(const Sweep& of, int first, int m, int a, const F& flows)
    {
        const int end = of.tape.pieces[first + m - 1].arrivals, receptor = of.of(of.tape.arrivals[a]).receptor;
        rows.clear();
        for (int k = a; k < end; k++) rows.push_back(of.of(of.tape.arrivals[k]).weight + of.row(of.tape.arrivals[k]));
        decltype(one(flow[0], flows, 0)) flow_of[LANES];
        int level[LANES];
        const Piece* pieces = &of.tape.pieces[first];
        for (int k = 0; k < m; k++) flow_of[k] = one(flow[0], flows, k), level[k] = ladder.level(pieces[k].end - pieces[k].t);
        M::receptor(receptor, [&](auto q) {
            typename decltype(q)::template Arrive<double> rule;
            prepare(rule, 0);
            const auto arrive = rule.at(0.0);
            int j = 0;
            for (; j + 2 * LANES <= width; j += 2 * LANES) follow_block<2>(pieces, first, m, a, flow_of, level, arrive, j);
            if (j < width) follow_block<1>(pieces, first, m, a, flow_of, level, arrive, j);
        });
    }
    template <int B, class F, class A> SNN_INLINE void follow_block(const Piece* pieces, int first, int m, int a, const F* flow_of, const int* level, const A& arrive, int j)
    {
        // states of all pieces first, so that only the highest have to be looked at
        D8 from[LANES][B][S_], to[LANES][B][S_], top[LANES][B], state[B][S_ + 1], highest[B];
        SNN_IN_REGISTERS for (int b = 0; b < B; b++)
        {
            highest[b] = load8(Base::peak_value.begin() + j + b * LANES);
            take(x.begin(), j + b * LANES, state[b]);
        }
        const double* const* row = rows.data();
        for (int k = 0; k < m; k++)
        {
            for (const double* const* last = rows.data() + (pieces[k].arrivals - a); row < last; row++)
                SNN_IN_REGISTERS for (int b = 0; b < B; b++)
                {
                    D8 after[S_];
                    state[b][S_] = load8(*row + j + b * LANES);
                    arrive.run(state[b], after);
                    SNN_IN_REGISTERS for (int i = 0; i < S_; i++) state[b][i] = after[i];
                }
            if (!(pieces[k].end > pieces[k].t)) continue;
            SNN_IN_REGISTERS for (int b = 0; b < B; b++)
            {
                SNN_IN_REGISTERS for (int i = 0; i < S_; i++) from[k][b][i] = state[b][i];
                flow_of[k].run(from[k][b], state[b]);
                SNN_IN_REGISTERS for (int i = 0; i < S_; i++) to[k][b][i] = state[b][i];
                top[k][b] = Base::ceiling(j + b * LANES, level[k], from[k][b]);
                highest[b] = larger(state[b][Base::observed_()], highest[b]);
            }
        }
        SNN_IN_REGISTERS for (int b = 0; b < B; b++) put(x.begin(), j + b * LANES, state[b]);
        for (int k = 0; k < m; k++)
            for (int b = 0; b < B; b++)
                if (pieces[k].end > pieces[k].t && bits_above(highest[b], larger(top[k][b], to[k][b][Base::observed_()])) != ones_below(LANES))
                    Base::block_peaks(j + b * LANES, level[k], from[k][b], to[k][b], top[k][b], pieces[k].t, pieces[k].end - pieces[k].t, first + k);
    }

    std::vector<const double*> rows, coming;

    template <class R> using BackRule = typename R::template ArriveBack<K>;
    typename M::template EachReceptor<BackRule> arrive_back_;  // one for each receptor

    // --- backward ------------------------------------------------------------------------------------------------------

    // Costates are those at `now`; at t they are their flow from there. From where they would lose a digit by that, they age.
    double now = 0, span = 0;
    bool active = false;  // whether any of them may differ from zero

    void reach(double t)
    {
        if (!(now - t > span)) return;
        if (active) Base::back(now - t, nullptr);
        now = t;
    }

    // Whether the way back by up to s and forth again loses no more than a digit. Rounding grows as the products of absolute
    // values do; what it is compared with is how strongly a costate acts on another at all.
    bool keeps_digits(double s) const
    {
        if (!(s > 1e-9 * ladder.longest)) return true;
        constexpr int PARTS = 8;
        double there[PARTS][S_][S_], back[PARTS][S_][S_], most[S_][S_] = {};  // of costate j at the later time on i at the other
        for (int part = 0; part < PARTS; part++)
            for (int j = 0; j < S_; j++)
            {
                double unit[S_] = {}, to[S_], from[S_];
                unit[j] = 1;
                const double x = s * (part + 1) / PARTS;
                back_[0].at(x).run(unit, to), back_[0].at(-x).run(unit, from);
                for (int i = 0; i < S_; i++)
                {
                    there[part][i][j] = to[i], back[part][i][j] = from[i];
                    most[i][j] = std::max(std::max(most[i][j], std::abs(to[i])), i == j ? 1.0 : 0.0);
                }
            }
        for (int part = 0; part < PARTS; part++)
            for (int i = 0; i < S_; i++)
                for (int j = 0; j < S_; j++)
                {
                    double sum = 0, absolute = 0;
                    for (int k = 0; k < S_; k++) sum += there[part][i][k] * back[part][k][j], absolute += std::abs(there[part][i][k] * back[part][k][j]);
                    if (!(absolute <= 8 * most[i][j]) || !(std::abs(sum - (i == j)) <= 1e-13 * most[i][j])) return false;
                }
        return true;
    }

    // The flow of costates from `now` to the times of events, and back from there if that is asked for, for eight events up
    // to `first` + 7
    struct Eight
    {
        int first = -1;
        double now = 0;
        decltype(std::declval<typename M::template Back<double>>().at(D8())) there, back;
    };
    template <bool BACK, class TIME> SNN_INLINE int lane(Eight& e, int k, TIME time)
    {
        if (e.first < 0 || k < e.first || k >= e.first + LANES || e.now != now)
        {
            e.first = std::max(0, k - LANES + 1), e.now = now;
            D8 s = all(0);
            for (int i = 0; i < LANES && e.first + i <= k; i++) s[i] = now - time(e.first + i);
            e.there = back_[0].at(s);
            if (BACK) e.back = back_[0].at(-s);
        }
        return k - e.first;
    }
    Eight ahead, ends;  // of spikes, of starts of pieces

    struct Pull
    {
        int piece;
        double time;
        int neuron;
        bool operator<(const Pull& o) const { return piece != o.piece ? piece < o.piece : time != o.time ? time < o.time : neuron < o.neuron; }
    };
    std::vector<Pull> pulls;

    // The loss depends on the observed state of a neuron at t
    void pull(int j, double t, double error)
    {
        reach(t);
        active = true;
        double unit[S_] = {}, add[S_];
        unit[observed] = error;
        back_[0].at(t - now).run(unit, add);
        for (int i = 0; i < S_; i++) costate(i)[j] += add[i];
    }

    void piece_back(const Sweep& of, int n)
    {
        const Piece& piece = of.tape.pieces[n];
        const Piece before = n ? of.tape.pieces[n - 1] : Piece{0, 0, 0, 0, 0, 0, 0};
        for (std::size_t k = pulls.size(); k-- > 0 && pulls[k].piece == n;)
            if (of.trial.peaks[pulls[k].neuron].kind == Peak::SMOOTH) pull(pulls[k].neuron, pulls[k].time, of.loss->maxima[pulls[k].neuron]);
        if constexpr (M::SPIKING)
            for (int o = piece.owns; o-- > before.owns;) spike_back(of, o);
        if (active && piece.arrivals > before.arrivals)
        {
            reach(piece.t);
            const int k = start_lane(of, n);
            const auto there = one(back_[0], ends.there, k);
            for (int to = piece.arrivals; to > before.arrivals;)
            {
                int from = to - 1;
                while (from > before.arrivals && to - from < ROWS && of.tape.arrivals[from - 1].projection == of.tape.arrivals[from].projection) from--;
                rows_back(of, from, to, &there, 0);
                to = from;
            }
        }
        for (; !pulls.empty() && pulls.back().piece >= n; pulls.pop_back())
        {
            const int j = pulls.back().neuron;
            const Peak& peak = of.trial.peaks[j];
            if (peak.kind != Peak::BEFORE) continue;
            pull(j, piece.t, of.loss->maxima[j]);
            // the maximum is where the arrivals of this instant are, and moves with those of the first round
            const int a0 = before.arrivals;
            std::size_t m = n;
            while (of.tape.pieces[m].arrivals == a0 && m + 1 < of.tape.pieces.size() && of.tape.pieces[m + 1].t == piece.t) m++;
            int at = a0;
            const auto each = [&](auto f) {
                for (at = a0; at < of.tape.pieces[m].arrivals; at++)
                {
                    const Arrival& one = of.tape.arrivals[at];
                    const Projection& p = of.net.projections[one.projection];
                    f(at - a0, Base::lowers(p.receptor, j, p.row(of.trial.trains[p.source].neuron[one.spike]).weight[j], nullptr), false);
                }
            };
            kink(peak.rate, false, !(piece.t < of.net.duration), each, [&](int, double share) { of.collect(of.tape.arrivals[at], of.loss->maxima[j] * share); });
        }
    }

    void spike_back(const Sweep& of, int o)
    {
        const Own& own = of.tape.owns[o];
        const Train& train = of.trial.trains[of.net.inputs + index];
        if (!active && train.sens[own.spike] == 0) return;
        active = true;
        reach(own.t);
        const int k = lane<true>(ahead, o, [&](int m) { return of.tape.owns[m].t; }), j = train.neuron[own.spike];
        double at_now[S_], then[S_];
        for (int i = 0; i < S_; i++) at_now[i] = costate(i)[j];
        one(back_[0], ahead.there, k).run(at_now, then);
        Base::spike_back(j, &train.before[std::size_t(own.spike) * S_], then, train.sens[own.spike], true);
        one(back_[0], ahead.back, k).run(then, at_now);
        for (int i = 0; i < S_; i++) costate(i)[j] = at_now[i];
    }

    // How many pieces up to n, at most eight, have nothing but one arrival each, all of one projection, and follow from costates
    // as they are now
    int single_arrivals(const Sweep& of, int n) const
    {
        if (!active) return 0;
        const auto& pieces = of.tape.pieces;
        const int last = pieces[n].arrivals - 1;
        for (int m = 0; m < LANES; m++, n--)
            if (n < 1 || pieces[n].arrivals != pieces[n - 1].arrivals + 1 || pieces[n].owns != pieces[n - 1].owns || now - pieces[n].t > span ||
                (!pulls.empty() && pulls.back().piece >= n) || of.tape.arrivals[last - m].projection != of.tape.arrivals[last].projection)
                return m;
        return LANES;
    }

    // Up to m of them; returns how many
    int pieces_back(const Sweep& of, int n, int m)
    {
        const int k = start_lane(of, n);
        m = std::min(m, k + 1);
        decltype(one(back_[0], ends.there, 0)) there[LANES];
        for (int i = 0; i < m; i++) there[i] = one(back_[0], ends.there, k + 1 - m + i);
        rows_back(of, of.tape.pieces[n].arrivals - m, of.tape.pieces[n].arrivals, there, 1);
        return m;
    }
    __attribute__((noinline)) int start_lane(const Sweep& of, int n) { return lane<false>(ends, n, [&](int m) { return of.tape.pieces[m].t; }); }

    // Rows of arrivals [from, to) of one projection: of one instant, or (`step` 1) each of its own
    template <class B> __attribute__((noinline)) void rows_back(const Sweep& of, int from, int to, const B* there, int step)
    {
        const Projection& p = of.of(of.tape.arrivals[from]);
        M::receptor(p.receptor, [&](auto q) {
            if (p.timed) rows_back<decltype(q), true>(of, from, to, there, step);
            else rows_back<decltype(q), false>(of, from, to, there, step);
        });
    }
    template <class R, bool TIMED, class B> SNN_INLINE void rows_back(const Sweep& of, int from, int to, const B* there, int step)
    {
        const auto at = std::get<BackRule<R>>(arrive_back_).at(0.0);
        const int m = to - from, q = of.tape.arrivals[from].projection;
        const double* weights[LANES];
        double* gradients[LANES];
        for (int k = 0; k < m; k++)
        {
            const std::size_t row = of.row(of.tape.arrivals[from + k]);
            weights[k] = of.net.projections[q].weight + row, gradients[k] = (*of.weight_sums)[q].begin() + row;
        }
        if (from > 0 && of.tape.arrivals[from - 1].projection == q)  // which row comes next, no processor can guess
        {
            const double* next = (*of.weight_sums)[q].begin() + of.row(of.tape.arrivals[from - 1]);
            for (int k = 0; k < width; k += LANES) __builtin_prefetch(next + k, 1);
        }
        D8 moved[LANES];
        for (D8& s : moved) s = all(0);
        for (int j = 0; j < width; j += LANES)
        {
            D8 at_now[S_], in[2 * S_ + 1], out[2 + S_];
            take(l.begin(), j, at_now);
            there->run(at_now, in + S_);
            in[2 * S_] = all(0);
            for (int k = 0; k < m; k++)
            {
                if (step) there[k].run(at_now, in + S_);
                if (TIMED || R::WEIGHTED) in[2 * S_] = load8(weights[k] + j);
                at.run(in, out);
                store8(gradients[k] + j, load8(gradients[k] + j) + out[0]);
                if (TIMED) moved[k] += out[1];
            }
        }
        if (TIMED) for (int k = 0; k < m; k++) of.collect(of.tape.arrivals[from + k], total(moved[k]));
    }
};

}  // namespace snn
