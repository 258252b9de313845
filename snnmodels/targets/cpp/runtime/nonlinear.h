// Populations of nonlinear models: every neuron follows its flow in Taylor steps of its own (taylor.h), eight side by side.
// Forward, a walk stops at the first crossing and nothing of its steps is kept; backward, it is made again from the state at
// its start, and reversed.
#pragma once
#include "neurons.h"
#include "taylor.h"

namespace snn {

// One flow of a model: its constants for every neuron, and the cotangents of these, summed over a trial
template <class M> class TaylorFlow
{
public:
    using S = typename M::template Series<D8>;
    using Free = std::conditional_t<(S::EVENT >= 0), Unwatched<S>, S>;
    static constexpr int K = M::ORDER, NX = S::NX, NC = S::NC > 0 ? S::NC : 1;
    struct Constants { D8 c[NC]; };

    template <class VALUES> void refresh(int width, double tolerance, double longest, VALUES values)
    {
        watched = Control<S>(tolerance, longest, M::SCALE), free = Control<Free>(tolerance, longest, M::SCALE);
        constants.resize(M::SHARED ? 1 : width / LANES), bars.resize(width / LANES);
        for (std::size_t b = 0; b < constants.size(); b++)
        {
            D8 p[M::P + 1];
            values(int(b) * LANES, p);
            S::constants(p, constants[b].c);
        }
        room.resize(64), plain.resize(64);
    }

    // constants of the block that begins with neuron j
    const D8* block(int j) const { return constants[M::SHARED ? 0 : j / LANES].c; }
    // constants of up to eight neurons from anywhere
    Constants gather(const int* neurons, int m) const
    {
        Constants to = constants[M::SHARED ? 0 : neurons[0] / LANES];
        if (!M::SHARED)
            for (int i = 0; i < NC; i++)
                for (int l = 0; l < LANES; l++) to.c[i][l] = block(neurons[std::min(l, m - 1)])[i][neurons[std::min(l, m - 1)] % LANES];
        return to;
    }

    // Lanes of a mask that are about to go
    template <class SYSTEM> static snn::Lanes<SYSTEM> start(I8 running, D8 duration)
    {
        snn::Lanes<SYSTEM> lanes{};
        lanes.duration = duration;
        lanes.outcome = running ? I8{} + RUNNING : I8{} + RESTING;
        return lanes;
    }

    // Until no lane runs, or one has made too many steps: that one is still RUNNING
    void watch(const D8* c, snn::Lanes<S>& lanes) { go(c, watched, lanes, room, false); }

    // Costates of lanes where they stopped to those where they started, at x
    void back(const D8* c, const D8* x, I8 running, D8 duration, D8* costate, D8* bar)
    {
        auto lanes = start<Free>(running, duration);
        std::copy_n(x, NX, lanes.x);
        const long n = go(c, free, lanes, plain, true);
        D8 time{}, end{};
        walk_back<Free, K>(c, free, plain.data(), 0, n, costate, &time, &end, bar);
    }

    std::vector<Constants> bars;

private:
    template <class SYSTEM> static long go(const D8* c, const Control<SYSTEM>& control, snn::Lanes<SYSTEM>& lanes, std::vector<Step<SYSTEM>>& steps, bool keep)
    {
        Tape<SYSTEM> tape{steps.data(), 0, long(steps.size())};
        long made = 0;
        while (!walk<SYSTEM, K>(c, control, lanes, tape))
        {
            if (made + tape.n > M::MAX_STEPS) break;
            if (!keep) made += tape.n, tape.n = 0;
            else
            {
                steps.resize(2 * tape.n);
                tape.steps = steps.data(), tape.capacity = 2 * tape.n;
            }
        }
        return tape.n;
    }

    Control<S> watched{1, 1, M::SCALE};
    Control<Free> free{1, 1, M::SCALE};
    std::vector<Constants> constants;
    std::vector<Step<S>> room;
    std::vector<Step<Free>> plain;
};

struct NoFlow {};  // of neurons that are never refractory, or that have a closed form while they are

template <class M> class NonlinearPopulation : public ModelNeurons<M>
{
    using Base = ModelNeurons<M>;
    using Base::S_, Base::P_, Base::G_;
    using Base::n, Base::width, Base::S, Base::index, Base::observed, Base::ladder, Base::tolerance, Base::clock;
    using Base::x, Base::l, Base::peak_value, Base::held, Base::held_list, Base::grad, Base::smallest_gdot;
    using Base::state, Base::hold, Base::reset, Base::duration, Base::take, Base::prepare_one, Base::peak_rule;
    using Flow = TaylorFlow<M>;
    using Watched = typename Flow::S;

    template <class R, bool> struct HeldFlow { using type = NoFlow; };
    template <class R> struct HeldFlow<R, true> { using type = TaylorFlow<typename R::Held>; };
    template <class R, bool> struct Refractory { static constexpr bool steps = false; };
    template <class R> struct Refractory<R, true> { static constexpr bool steps = !R::Held::LINEAR; };
    static constexpr bool HELD_STEPS = Refractory<M, M::REFRACTORY>::steps;
    static constexpr bool TURNS = Watched::NE > (M::SPIKING ? 1 : 0);

public:
    void refresh() override
    {
        Base::refresh();
        const auto values = [&](int j, D8* p) { this->template values<D8>(j, p); };
        flow.refresh(width, tolerance, ladder.longest, values);
        if constexpr (HELD_STEPS) held_flow.refresh(width, tolerance, ladder.longest, values);
        if constexpr (M::OBSERVED) peak_flow.refresh(width, tolerance, ladder.longest, values);
        ahead.resize(std::size_t(S) * width);
        ahead_for = -1;
    }

    void begin() override
    {
        Base::begin();
        ahead_for = -1;
    }

    // --- flow and crossings --------------------------------------------------------------------------------------------

    void advance(double s, bool look, bool move) override
    {
        if (look) hot.clear(), seen.clear();
        // a look ahead that ends where it was to end need not be walked again
        if (move && !look && s == ahead_for) std::copy_n(ahead.begin(), ahead.size(), x.begin());
        else
        {
            bool sound = true;
            for (int j = 0; j < width; j += LANES) sound = walk_block(s, j, look, move) && sound;
            ahead_for = !move && sound ? s : -1;
        }
        if (!move) return;
        ahead_for = -1;
        for (int j : held_list)
        {
            double from[S_], to[S_];
            this->copy_state(j, from);
            flow_one(s, j, from, to);
            for (int i = 0; i < S_; i++) state(i)[j] = to[i];
        }
    }

    void search(double) override {}  // a walk finds crossings as it goes

    double felt(double shortest) const override
    {
        double t = INF;
        for (const Crossing& h : hot) t = std::min(t, h.root + (M::REFRACTORY ? std::min(shortest, duration(h.neuron)) : shortest));
        return t;
    }

    void settle(double t, double limit, double end, Train& train) override
    {
        if constexpr (M::EVENTFUL)
        {
            const int start = train.size();
            this->turns.clear();
            while (!hot.empty())
            {
                // compare as absolute times: these are what spikes and arrivals are ordered by
                hot.erase(std::remove_if(hot.begin(), hot.end(), [&](const Crossing& h) { return !(t + h.root <= t + limit); }), hot.end());
                again.clear();
                for (const Crossing& h : hot) last_spike(h);
                for (std::size_t k = 0; k < hot.size(); k += LANES) spikes(&hot[k], std::min<int>(LANES, int(hot.size() - k)), t, limit, end, train);
                this->refuse_runaway(train);
                std::swap(hot, again);
            }
            this->sort(train, start, this->S);
            if (TURNS) settle_turns(t, limit, end);
        }
    }

    void flow_one(double s, int j, const double* from, double* to) const override
    {
        std::copy_n(from, S_, to);
        if (!(s > 0)) return;
        if constexpr (M::REFRACTORY)
            if (held[j])
            {
                if constexpr (HELD_STEPS) one(held_flow, s, j, to);
                else
                {
                    typename M::Held::template Flow<double> f;
                    prepare_one(f, j);
                    f.at(s).run(from, to);
                }
                return;
            }
        one(flow, s, j, to);
    }

    void follow(double s, int j, const double* before, int kind) override
    {
        busy.resize(width, 0);
        if (M::REFRACTORY || !(s > 0 || busy[j])) return Base::follow(s, j, before, kind);
        Leg leg{j, s, 0, nullptr, NOTHING_ELSE, {}, {}};
        this->after_event(kind, before, j, leg.start);
        // a neuron with another event is followed from there
        if (busy[j]) follows[busy[j] - 1] = leg;
        else follows.push_back(leg), busy[j] = int(follows.size());
    }

    // --- adjoint -------------------------------------------------------------------------------------------------------

    void back_begin(double* const* gradients) override
    {
        Base::back_begin(gradients);
        for (auto& b : flow.bars) b = {};
        if constexpr (HELD_STEPS) for (auto& b : held_flow.bars) b = {};
    }

    void back(double s, const double* start) override
    {
        for (int j = 0; j < width; j += LANES)
        {
            D8 x0[S_], costate[S_];
            take(l.begin(), j, costate);
            I8 some{};
            for (int i = 0; i < S_; i++) some |= costate[i] != 0.0;
            if (!bits(some)) continue;
            take(start, j, x0);
            flow.back(flow.block(j), x0, some, all(s), costate, flow.bars[j / LANES].c);
            this->put(l.begin(), j, costate);
        }
    }

    void back_one(double s, int j, double* costate, const double* start, bool is_held) override
    {
        if (!(s > 0)) return;
        if constexpr (M::REFRACTORY)
            if (is_held)
            {
                if constexpr (HELD_STEPS) one_back(held_flow, s, j, costate, start);
                else closed_back(s, j, costate, start);
                return;
            }
        one_back(flow, s, j, costate, start);
    }

    void back_event(double s, int j, double* costate, const double* before, double sens, int kind) override
    {
        if (M::REFRACTORY) return Base::back_event(s, j, costate, before, sens, kind);
        Leg leg{j, s, sens, costate, kind, {}, {}};
        this->after_event(kind, before, j, leg.start), std::copy_n(before, S_, leg.before);
        legs.push_back(leg);
    }
    void back_later(double s, int j, double* costate, const double* start, bool is_held) override
    {
        if (is_held) return back_one(s, j, costate, start, true);
        Leg leg{j, s, 0, costate, NOTHING_ELSE, {}, {}};
        std::copy_n(start, S_, leg.start);
        legs.push_back(leg);
    }
    void finish() override
    {
        for (std::size_t k = 0; k < follows.size(); k += LANES) go_on(&follows[k], std::min<int>(LANES, int(follows.size() - k)));
        for (const Leg& leg : follows) busy[leg.neuron] = 0;
        follows.clear();
        while (!legs.empty())
        {
            // the next leg of every neuron
            round.clear(), later.clear(), busy.resize(width, 0);
            for (const Leg& leg : legs) (busy[leg.neuron]++ ? later : round).push_back(leg);
            for (const Leg& leg : legs) busy[leg.neuron] = 0;
            for (std::size_t k = 0; k < round.size(); k += LANES) back_legs(&round[k], std::min<int>(LANES, int(round.size() - k)));
            std::swap(legs, later);
        }
    }

    void back_end() override
    {
        Base::back_end();
        to_parameters<M>(flow);
        if constexpr (HELD_STEPS) to_parameters<typename M::Held>(held_flow);
    }

    // --- maxima --------------------------------------------------------------------------------------------------------

    void peaks(const double* start, double t, double s, int piece) override
    {
        if constexpr (M::OBSERVED)
            for (int j = 0; j < width; j += LANES)
            {
                using Slope = typename PeakFlow::S;
                auto lanes = PeakFlow::template start<Slope>(there(j), all(s));
                take(start, j, lanes.x);
                typename M::template Rate<D8> rate;
                D8 p[P_ + 1], d[S_];
                this->template values<D8>(j, p);
                rate.prepare(p);
                rate.at(all(0)).run(lanes.x, d);
                lanes.above = d[observed] <= 0.0;
                for (int turns = 0;; turns++)
                {
                    peak_flow.watch(peak_flow.block(j), lanes);
                    const I8 top = lanes.outcome == SPIKED;
                    if (!bits(top)) break;
                    for (int q = 0; q < LANES; q++)
                        if (top[q] && lanes.x[observed][q] > peak_value[j + q]) Base::set_peak(j + q, {lanes.x[observed][q], t + lanes.elapsed[q], 0, piece, Peak::SMOOTH});
                    if (turns == M::MAX_EVENTS) throw Failure{"search", index, j + __builtin_ctz(bits(top)), t};
                    lanes.outcome = top ? I8{} + RUNNING : lanes.outcome;
                }
                for (int q = j; q < std::min(n, j + LANES); q++)
                {
                    const double v = state(observed)[q];
                    if (!(v > peak_value[q])) continue;
                    double at[S_], out[4];
                    this->copy_state(q, at);
                    peak_rule(q, at, out);
                    if (out[1] <= 0) Base::set_peak(q, {v, t + s, -out[1], piece + 1, Peak::BEFORE});
                }
            }
    }

private:
    // A neuron that has an event of its own a time `root` after the start of a piece, just before it
    struct Crossing { int neuron; double root, state[S_]; int kind = SPIKE; };

    // Takes lanes that have stopped at events that are no spikes through these, until they have come to a spike or to their end.
    // `since`: when each lane set out.
    template <class LANES_, class WHO> void through(const D8* c, LANES_& lanes, D8 since, WHO who)
    {
        flow.watch(c, lanes);
        if constexpr (TURNS)
            for (int rounds = 0;; rounds++)
            {
                I8 on{};
                for (unsigned m = bits(lanes.outcome == SPIKED); m; m &= m - 1)
                {
                    const int q = __builtin_ctz(m), j = who(q), kind = int(lanes.event[q]) - M::SPIKING;
                    if (kind == SPIKE) continue;
                    Crossing h{j, since[q] + lanes.elapsed[q], {}, kind};
                    for (int i = 0; i < S_; i++) h.state[i] = lanes.x[i][q];
                    double after[S_];
                    this->after_event(kind, h.state, j, after);
                    if (this->turns_back(kind, after, j)) throw Failure{"slides", index, j, clock + h.root};
                    if (rounds == M::MAX_EVENTS) throw Failure{"turns", index, j, clock + h.root};
                    seen.push_back(h);
                    for (int i = 0; i < S_; i++) lanes.x[i][q] = after[i];
                    on[q] = -1, lanes.above[q] = 0;
                    for (auto& other : lanes.others) other[q] = 0;
                }
                if (!bits(on)) return;
                lanes.outcome = on ? I8{} + RUNNING : lanes.outcome;
                flow.watch(c, lanes);
            }
    }
    // Turns up to the limit, in the order of time; neurons that have not spiked since are followed from their last one
    void settle_turns(double t, double limit, double end)
    {
        seen.erase(std::remove_if(seen.begin(), seen.end(), [&](const Crossing& h) { return !(t + h.root <= t + limit); }), seen.end());
        std::stable_sort(seen.begin(), seen.end(), [](const Crossing& a, const Crossing& b) { return a.root < b.root; });
        for (const Crossing& h : seen)
        {
            this->turns.add(std::min(t + h.root, end), h.neuron, h.kind, h.state, S_);
            if (spiked.empty() || !(h.root < spiked[h.neuron])) follow(limit - h.root, h.neuron, h.state, h.kind);
        }
        finish();
        spiked.clear();
    }
    void last_spike(const Crossing& h)
    {
        if (!TURNS) return;
        if (spiked.empty()) spiked.resize(width, -1);
        spiked[h.neuron] = std::max(spiked[h.neuron], h.root);
    }

    // neurons of a block that flow: not those that fill it up, nor refractory ones
    I8 there(int j) const
    {
        I8 yes = lanes_below(n - j);
        if (M::REFRACTORY) for (int q : held_list) if (q >= j && q < j + LANES) yes[q - j] = 0;
        return yes;
    }

    // a walk that has come to no end
    template <class LANES_> bool stuck(const LANES_& lanes) const { return bits((lanes.outcome == FAILED) | (lanes.outcome == RUNNING)) != 0; }
    template <class LANES_, class WHO> void refuse(const LANES_& lanes, double since, WHO who) const
    {
        for (int q = 0; q < LANES; q++)
            if (lanes.outcome[q] == FAILED || lanes.outcome[q] == RUNNING)
                throw Failure{lanes.outcome[q] == FAILED ? "finite" : "steps", index, who(q), clock + since + lanes.elapsed[q]};
    }

    // Returns false if a neuron that was only looked ahead for has got stuck: it may be that it never gets there
    bool walk_block(double s, int j, bool look, bool move)
    {
        auto lanes = Flow::template start<Watched>(there(j), all(s));
        take(x.begin(), j, lanes.x);
        // a way to where the look ahead has ended has no event left that isn't known
        if (look) through(flow.block(j), lanes, all(0), [&](int q) { return j + q; });
        else flow.watch(flow.block(j), lanes);
        const bool sound = !stuck(lanes);
        if (!sound && move) refuse(lanes, 0, [&](int q) { return j + q; });
        if (look)
            for (unsigned m = bits(lanes.outcome == SPIKED); m; m &= m - 1)
            {
                const int q = __builtin_ctz(m);
                Crossing h{j + q, lanes.elapsed[q], {}, SPIKE};
                for (int i = 0; i < S_; i++) h.state[i] = lanes.x[i][q];
                hot.push_back(h);
            }
        this->put(move ? x.begin() : ahead.begin(), j, lanes.x);
        return sound;
    }

    // Spikes of up to eight neurons, and their way on to the limit; those that spike again before go on the other list
    void spikes(const Crossing* of, int m, double t, double limit, double end, Train& train)
    {
        int neurons[LANES];
        D8 rest{};
        auto lanes = Flow::template start<Watched>(I8{}, rest);
        for (int q = 0; q < m; q++)
        {
            const Crossing& h = of[q];
            const int j = neurons[q] = h.neuron;
            double after[S_], v[3];
            typename M::template Search<double> rule;
            prepare_one(rule, j);
            rule.at(0.0).run(h.state, v);
            smallest_gdot = std::min(smallest_gdot, v[1]);
            reset(h.state, j, after);
            rule.at(0.0).run(after, v);
            const double at = std::min(t + h.root, end);
            if (!M::REFRACTORY && !M::STAYS && (v[0] > 0 || (v[0] == 0 && v[1] > 0))) throw Failure{"reset", index, j, at};
            train.t.push_back(at), train.neuron.push_back(j), train.cause.push_back(FLOW);
            train.before.insert(train.before.end(), h.state, h.state + S_);
            if constexpr (M::REFRACTORY)
            {
                double to[S_];
                hold(j, true);
                flow_one(limit - h.root, j, after, to);
                for (int i = 0; i < S_; i++) state(i)[j] = to[i];
            }
            else for (int i = 0; i < S_; i++) lanes.x[i][q] = after[i];
            rest[q] = limit - h.root;
        }
        if (M::REFRACTORY) return;
        for (int q = m; q < LANES; q++) for (int i = 0; i < S_; i++) lanes.x[i][q] = lanes.x[i][0];
        lanes.duration = rest;
        lanes.outcome = (rest > 0.0) & lanes_below(m) ? I8{} + RUNNING : I8{} + RESTING;
        D8 since{};
        for (int q = 0; q < m; q++) since[q] = of[q].root;
        through(flow.gather(neurons, m).c, lanes, since, [&](int q) { return neurons[q]; });
        if (stuck(lanes)) refuse(lanes, of[0].root, [&](int q) { return neurons[q]; });
        for (int q = 0; q < m; q++)
        {
            for (int i = 0; i < S_; i++) state(i)[neurons[q]] = lanes.x[i][q];
            if (lanes.outcome[q] != SPIKED) continue;
            Crossing h{neurons[q], std::min(of[q].root + lanes.elapsed[q], limit), {}, SPIKE};
            for (int i = 0; i < S_; i++) h.state[i] = lanes.x[i][q];
            again.push_back(h);
        }
    }

    // A way of one neuron between two events of its own, from the state `start`; where it begins with an event, that had
    // the state `before`
    static constexpr int NOTHING_ELSE = -2;
    struct Leg
    {
        int neuron;
        double s, sens, *costate;
        int kind;  // of the event that it begins with, if any
        double start[S_], before[S_];
    };
    void pack(const Leg* of, int m, int* neurons, D8* x0, D8& s) const
    {
        for (int q = 0; q < LANES; q++)
        {
            const Leg& leg = of[std::min(q, m - 1)];
            neurons[q] = leg.neuron, s[q] = leg.s;
            for (int i = 0; i < S_; i++) x0[i][q] = leg.start[i];
        }
    }
    void go_on(const Leg* of, int m)
    {
        int neurons[LANES];
        D8 s;
        snn::Lanes<Watched> lanes{};
        pack(of, m, neurons, lanes.x, s);
        lanes.duration = s, lanes.outcome = lanes_below(m) & (s > 0.0) ? I8{} + RUNNING : I8{} + RESTING;
        flow.watch(flow.gather(neurons, m).c, lanes);
        if (stuck(lanes)) refuse(lanes, 0, [&](int q) { return neurons[q]; });
        for (int q = 0; q < m; q++) for (int i = 0; i < S_; i++) state(i)[neurons[q]] = lanes.x[i][q];
    }
    void back_legs(const Leg* of, int m)
    {
        int neurons[LANES];
        D8 s, x0[S_], costate[S_];
        pack(of, m, neurons, x0, s);
        for (int i = 0; i < S_; i++) for (int q = 0; q < LANES; q++) costate[i][q] = q < m ? of[q].costate[i] : 0;
        I8 some{};
        for (int i = 0; i < S_; i++) some |= costate[i] != 0.0;
        typename Flow::Constants sums{};
        if (bits(some)) flow.back(flow.gather(neurons, m).c, x0, some & (s > 0.0), s, costate, sums.c);
        for (int q = 0; q < m; q++)
        {
            const int j = neurons[q];
            for (int i = 0; i < S_; i++) of[q].costate[i] = costate[i][q];
            for (int i = 0; i < Flow::NC; i++) flow.bars[j / LANES].c[i][j % LANES] += sums.c[i][q];
            if (of[q].kind != NOTHING_ELSE) this->event_back(of[q].kind, j, of[q].before, of[q].costate, of[q].sens);
        }
    }

    static I8 first() { return I8{-1}; }
    template <class FLOW_> void one(FLOW_& by, double s, int j, double* x0) const
    {
        // of a neuron that spikes again on its way no more is asked
        auto lanes = FLOW_::template start<typename FLOW_::S>(first(), all(s));
        for (int i = 0; i < S_; i++) lanes.x[i] = all(x0[i]);
        by.watch(by.gather(&j, 1).c, lanes);
        if (stuck(lanes)) refuse(lanes, 0, [&](int) { return j; });
        for (int i = 0; i < S_; i++) x0[i] = lanes.x[i][0];
    }
    template <class FLOW_> void one_back(FLOW_& by, double s, int j, double* costate, const double* start)
    {
        D8 x0[S_], bar[S_];
        bool some = false;
        for (int i = 0; i < S_; i++) x0[i] = all(start[i]), bar[i] = D8{costate[i]}, some = some || costate[i] != 0;
        if (!some) return;
        typename FLOW_::Constants sums{};
        by.back(by.gather(&j, 1).c, x0, first(), all(s), bar, sums.c);
        for (int i = 0; i < S_; i++) costate[i] = bar[i][0];
        for (int i = 0; i < FLOW_::NC; i++) by.bars[j / LANES].c[i][j % LANES] += sums.c[i][0];
    }
    void closed_back(double s, int j, double* costate, const double* start)
    {
        if constexpr (M::REFRACTORY && !HELD_STEPS)
        {
            using R = typename M::Held;
            if constexpr (G_ > 0 && !R::template Gradient<double>::ZERO)
            {
                typename R::template Gradient<double> rule;
                prepare_one(rule, j);
                double both[2 * S_], g[G_];
                std::copy_n(start, S_, both), std::copy_n(costate, S_, both + S_);
                rule.at(s).run(both, g);
                for (int k = 0; k < G_; k++) grad[k][j] += g[k];
            }
            typename R::template Back<double> rule;
            prepare_one(rule, j);
            double out[S_];
            rule.at(s).run(costate, out);
            std::copy_n(out, S_, costate);
        }
    }

    template <class R, class FLOW_> void to_parameters(const FLOW_& of)
    {
        if constexpr (G_ > 0)
            for (int j = 0; j < width; j += LANES)
            {
                D8 p[P_ + 1], bar[P_ + 1] = {};
                this->template values<D8>(j, p);
                FLOW_::S::parameters(p, of.bars[j / LANES].c, bar);
                for (int k = 0; k < G_; k++) store8(grad[k] + j, load8(grad[k] + j) + bar[R::LEARNABLE[k]]);
            }
    }

    mutable Flow flow;
    mutable typename HeldFlow<M, HELD_STEPS>::type held_flow;
    template <class R, bool> struct SlopeFlow { using type = NoFlow; };
    template <class R> struct SlopeFlow<R, true> { using type = TaylorFlow<typename R::Slope>; };
    using PeakFlow = typename SlopeFlow<M, M::OBSERVED>::type;
    PeakFlow peak_flow;
    std::vector<Crossing> hot, again, seen;  // seen: events that were no spikes
    std::vector<double> spiked;              // by neuron: its last spike in the piece, if any neuron has one
    std::vector<Leg> follows, legs, round, later;
    std::vector<int> busy;
    Aligned<double> ahead;  // states at the end of the last look ahead, after ahead_for
    double ahead_for = -1;
};

}  // namespace snn
