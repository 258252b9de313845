// Neurons of one population in one trial at a time: what the simulation asks of them, and what is the same however they flow:
// resets, arrivals, releases, and their adjoints. What a model does is generated (see printer.py).
#pragma once
#include <algorithm>
#include <cstddef>
#include <type_traits>
#include <utility>
#include <vector>
#include "failure.h"
#include "kinks.h"
#include "ladder.h"
#include "lanes.h"

namespace snn {

// Arrays of numbers, aligned to whole vectors
template <class T> class Aligned
{
    static_assert(std::is_arithmetic_v<T>, "zeros are what memset writes");

public:
    // to n zeros
    void resize(std::size_t n)
    {
        data.resize(n + 64 / sizeof(T));
        std::memset(data.data(), 0, data.size() * sizeof(T));
        first = data.data() + (64 - reinterpret_cast<std::uintptr_t>(data.data()) % 64) % 64 / sizeof(T), length = n;
    }
    // to n numbers of any value, or more
    void room(std::size_t n)
    {
        if (n > length) resize(n);
    }
    Aligned() = default;
    Aligned(Aligned&&) = default;
    T* begin() { return first; }
    T& operator[](std::size_t k) { return first[k]; }
    std::size_t size() const { return length; }
    void fill(T value) { std::fill_n(begin(), length, value); }

private:
    std::vector<T> data;
    T* first = nullptr;
    std::size_t length = 0;
};

// Vectors of which new elements are left as they are, since all of them are written
template <class T> struct Unset : std::allocator<T>
{
    template <class U> struct rebind { using other = Unset<U>; };
    template <class U> void construct(U* p) noexcept { ::new (static_cast<void*>(p)) U; }
    template <class U, class... A> void construct(U* p, A&&... a) { ::new (static_cast<void*>(p)) U(std::forward<A>(a)...); }
};
template <class T> using Plain = std::vector<T, Unset<T>>;

// Sums over trials: in an array of its own, or where they are to go
class Sums
{
public:
    // to n zeros
    void start(std::size_t n, double* to)
    {
        if (!to) own.resize(n);
        else std::memset(to, 0, n * sizeof(double));
        first = to ? to : own.begin();
    }
    double* begin() { return first; }
    double& operator[](std::size_t k) { return first[k]; }

private:
    Aligned<double> own;
    double* first = nullptr;
};

// What is sorted by time; at one time, by two numbers
struct Timed
{
    double t;
    int first, second;
    bool operator<(const Timed& o) const { return t != o.t ? t < o.t : first != o.first ? first < o.first : second < o.second; }
};
// Sorts what has a time t and an order: by bins of time where times are spread, so that insertion has little left to do
template <class T> class TimeSort
{
public:
    void operator()(std::vector<T>& items)
    {
        const int n = int(items.size());
        if (n > 24)
        {
            double low = INF, high = -INF;
            for (const T& x : items) low = std::min(low, x.t), high = std::max(high, x.t);
            const double scale = high > low ? (n - 1) / (high - low) : 0;
            if (!(scale <= 1e300)) return std::sort(items.begin(), items.end());  // times that only rounding tells apart
            const auto bin = [&](const T& x) { return std::min(n - 1, int((x.t - low) * scale)); };
            place.assign(n + 1, 0);
            for (const T& x : items) place[bin(x) + 1]++;
            for (int k = 0; k < n; k++) place[k + 1] += place[k];
            spread.resize(n);
            for (const T& x : items) spread[place[bin(x)]++] = x;
            std::swap(items, spread);
        }
        long moves = 16L * n;  // times that bins don't spread would take the square of their number
        for (int k = 1; k < n; k++)
        {
            const T x = items[k];
            int to = k;
            for (; to > 0 && x < items[to - 1]; to--) items[to] = items[to - 1];
            items[to] = x;
            if ((moves -= k - to) < 0) return std::sort(items.begin(), items.end());
        }
    }

private:
    std::vector<T> spread;
    std::vector<int> place;
};
extern template class TimeSort<Timed>;  // see once.h

constexpr int FLOW = -1;  // cause of a spike: a crossing; else the index of an arrival among those of the component

// Spikes of a population or an input in one trial, in the order of time
struct Train
{
    Plain<double> t, sens, before;  // sens: of the backward pass; before: the S states just before the reset, spike after spike
    Plain<int> neuron, cause, slot;  // slot: place of an input spike in the array that it was given in
    std::vector<std::pair<int, int>> rounds;  // spike and round of those that come in one: from 1 on; see GeneralSimulator
    int size() const { return int(t.size()); }
    int round(int spike) const
    {
        const auto at = std::lower_bound(rounds.begin(), rounds.end(), std::pair<int, int>(spike, 0));
        return at != rounds.end() && at->first == spike ? at->second : 0;
    }
    // Arrivals of one projection at one time are in the order of their sources, in whatever rounds these have spiked
    template <class A> void by_source(A from, A to) const
    {
        const auto before = [&](const auto& a, const auto& b) { return neuron[a.spike] < neuron[b.spike]; };
        if (!std::is_sorted(from, to, before)) std::stable_sort(from, to, before);
    }
    void grow(int m, int S)
    {
        const std::size_t n = t.size() + m;
        t.resize(n), neuron.resize(n), cause.resize(n, FLOW), before.resize(n * S);
    }
    void shrink(int to, int S) { t.resize(to), neuron.resize(to), cause.resize(to), before.resize(std::size_t(to) * S); }
    void add(double when, int j, const double* state, int S)
    {
        t.push_back(when), neuron.push_back(j), cause.push_back(FLOW);
        before.insert(before.end(), state, state + S);
    }
    void clear() { t.clear(), sens.clear(), before.clear(), neuron.clear(), cause.clear(), slot.clear(), rounds.clear(); }
};

constexpr int SPIKE = -1;  // kind of an event that is a spike; others are numbered as the model's transitions

// Events of neurons that are no spikes: when, whose, of which kind, and the S states just before
struct Turns
{
    std::vector<double> t, before;
    std::vector<int> neuron, kind;
    std::vector<std::size_t> at;  // where the states begin
    int size() const { return int(t.size()); }
    void add(double when, int j, int what, const double* state, int S)
    {
        t.push_back(when), neuron.push_back(j), kind.push_back(what), at.push_back(before.size());
        before.insert(before.end(), state, state + S);
    }
    void clear() { t.clear(), before.clear(), neuron.clear(), kind.clear(), at.clear(); }
};

// Sorts spikes by time, then neuron; see once.h
class SpikeSort
{
public:
    void operator()(Train& train, int start, int S);  // those of a train from `start` on
    // Or spikes as they are found: appends the first n that are in these arrays to a train
    void append(Train& train, int n, int S);
    std::vector<double> times, before;  // before: the states, one after the other, of `stride` spikes each
    std::vector<int> neurons;
    std::size_t stride = 0;
    // for n spikes, and whole vectors; keeps those that are there
    void room(int n, int S)
    {
        const std::size_t wanted = std::size_t(n) + LANES;
        if (wanted > stride) grow(2 * wanted, S);
    }

private:
    void grow(std::size_t to, int S);
    void find_places(int n);
    bool few(int n);
    TimeSort<Timed> by_time;
    std::vector<Timed> order;  // with neuron and place
    std::vector<int> place;
};

// A row of weights: of all neurons, or of the neurons `target`
struct Row
{
    const double* weight;
    const int* target;  // null: all
    int n;
};

// A maximum of the observed state of one neuron: its value, and where it is
struct Peak
{
    enum Kind { START, SMOOTH, BEFORE, AFTER };
    double value, time, rate;  // rate: slope of the observed state with the time of the arrivals that make a kink
    int piece, kind;           // in piece (SMOOTH), or at its start before or after its arrivals
};

class Scatter;  // see scatter.h
struct NotScattered {};  // thrown by what is found out only on the way and can't be scattered: the general way is taken
struct Sweep;    // see sweep.h

// What every way to simulate asks of the neurons of a population
class Neurons
{
public:
    virtual ~Neurons();
    virtual Scatter* scatter() { return nullptr; }  // another way to simulate these neurons, to be deleted by the caller
    // whether a whole trial can be simulated at once if all its arrivals are known and come to such receptors, see sweep.h
    virtual bool sweeps() const { return false; }
    virtual bool sweeps(int receptor) const { (void)receptor; return false; }
    virtual void sweep(const Sweep& of) { (void)of; }
    virtual void sweep_back(const Sweep& of) { (void)of; }
    virtual void refresh() = 0;  // after new parameter values
    virtual void begin() = 0;
    virtual bool spiking() const = 0;
    virtual void above(std::vector<int>& found) = 0;
    virtual bool refractory() const = 0;
    virtual double duration(int neuron) const = 0;
    virtual bool jumps(int receptor) const = 0;  // whether an arrival moves the observed state at once
    virtual void back_begin(double* const* gradients) = 0;
    virtual void peaks_begin() {}  // maxima of the observed state
    // a refractory neuron follows other rules until it is released
    void hold(int j, bool yes)
    {
        if (bool(held[j]) == yes) return;
        held[j] = yes;
        if (yes) held_list.push_back(j);
        else held_list.erase(std::find(held_list.begin(), held_list.end(), j));
    }
    void release_all() { for (int j : held_list) held[j] = 0; held_list.clear(); }
    double smallest_gdot = INF;

    double* state(int k) { return x.begin() + std::size_t(k) * width; }
    double* costate(int k) { return l.begin() + std::size_t(k) * width; }
    void copy_state(int j, double* to) const { for (int k = 0; k < S; k++) to[k] = const_cast<Neurons*>(this)->state(k)[j]; }

    int n = 0, width = 0, S = 0, G = 0, P = 0, index = 0, observed = 0;
    bool needs_states = false;
    std::vector<const double*> parameters;  // one value, or one for each neuron (padded to whole vectors)
    const double* initial = nullptr;        // S rows
    const double *bounds = nullptr, *peak_bounds = nullptr;
    Ladder ladder;
    double tolerance = 0;  // of nonlinear flows
    double max_spikes = INF;  // in one trial
    // so many spikes, of which the last one is of a neuron at t
    void refuse_runaway(int spikes, int neuron, double t) const
    {
        if (spikes > max_spikes) throw Failure{"runaway", index, neuron, t};
    }
    void refuse_runaway(const Train& train) const
    {
        if (const int n = train.size()) refuse_runaway(n, train.neuron[n - 1], train.t[n - 1]);
    }
    double clock = 0;      // when the piece began, to tell when something failed
    Aligned<double> x, l;
    // of every neuron (padded): the largest value of the observed state so far, and where it is; see Peak
    Aligned<double> peak_value, peak_time, peak_rate, peak_piece, peak_kind;
    Peak peak(int j) { return {peak_value[j], peak_time[j], peak_rate[j], int(peak_piece[j]), int(peak_kind[j])}; }
    void set_peak(int j, const Peak& p) { peak_value[j] = p.value, peak_time[j] = p.time, peak_rate[j] = p.rate, peak_piece[j] = p.piece, peak_kind[j] = p.kind; }
    std::vector<char> held;
    std::vector<int> held_list;

protected:
    std::vector<double> set_aside;
};

// What the general way asks beside that; a model that is swept alone has none of it, see Rules.sweeps
class GeneralNeurons : public Neurons
{
public:
    ~GeneralNeurons() override;
    virtual bool eventful() const { return spiking(); }  // whether anything happens to them by itself
    Turns turns;  // what has, and was no spike, up to the limit of the last settle()
    virtual bool fires(int receptor) const = 0;
    virtual bool reads(int receptor) const = 0;
    virtual void arrive(int receptor, const Row& row) = 0;
    virtual void arrive_one(int receptor, int neuron, double weight, double* state) const = 0;
    virtual double event(const double* state, int neuron) const = 0;
    virtual void reset(const double* before, int neuron, double* after) const = 0;
    // Flow over a piece of length s; `look`: collect the neurons that may cross, with their states at its start
    virtual void advance(double s, bool look, bool move) = 0;
    // First crossings of those collected, in the rest of a piece of length s
    virtual void search(double s) = 0;
    // The spikes up to `limit` after the start of the piece at `t`, appended to the train; states at `limit` follow
    virtual void settle(double t, double limit, double end, Train& train) = 0;
    // the earliest time after the start of the piece at which a crossing found may be felt, by others or by its neuron
    virtual double felt(double shortest) const = 0;
    virtual double release_back(int neuron, const double* state, const double* costate) const = 0;
    virtual void duration_back(int neuron, double sens) = 0;
    virtual void flow_one(double s, int neuron, const double* from, double* to) const = 0;
    // What happens to single neurons may be put off until finish(), to be done for several at once; to one neuron it then
    // happens in the order of the calls.
    // The state a time s after a known event of a kind with the state `before`
    virtual void follow(double s, int neuron, const double* before, int kind) = 0;
    virtual void decide(int input, int neuron) = 0;
    // By how much an arrival lowers the slope of the observed state; state: that just before it, where the rule reads it
    virtual double lowers(int receptor, int neuron, double w, const double* state) = 0;
    // From the costate a time s after an event to that before it
    virtual void back_event(double s, int neuron, double* costate, const double* before, double sens, int kind) = 0;
    virtual void back_later(double s, int neuron, double* costate, const double* start, bool held) { back_one(s, neuron, costate, start, held); }
    virtual void finish() {}
    // adjoint
    virtual void back(double s, const double* start) = 0;
    virtual void back_one(double s, int neuron, double* costate, const double* start, bool held) = 0;
    virtual double spike_back(int neuron, const double* before, double* costate, double sens, bool crossing) = 0;
    // `timed`: whether the sensitivity to the time of the arrival is wanted
    virtual double arrive_back(int receptor, const Row& row, double* gradient, const double* state, bool timed) = 0;
    virtual double arrive_back_one(int receptor, int neuron, double weight, double& gradient, const double* state) = 0;
    virtual void back_end() = 0;
    // maxima of the observed state
    virtual void peaks_jump(const double* was, double t, int piece) { (void)was, (void)t, (void)piece; }
    virtual void peaks(const double* start, double t, double s, int piece) { (void)start, (void)t, (void)s, (void)piece; }
};

// A population of the model M, but for its flow between events
template <class M> class ModelNeurons : public std::conditional_t<M::GENERAL, GeneralNeurons, Neurons>
{
protected:
    using K = std::conditional_t<M::SHARED, double, D8>;
    static constexpr int S_ = M::S, P_ = M::P, G_ = M::G;
    static_assert(S_ <= 64, "the simulator keeps the states of one neuron in arrays of 64");

    using Asked = std::conditional_t<M::GENERAL, GeneralNeurons, Neurons>;

public:
    using Asked::n, Asked::width, Asked::S, Asked::G, Asked::P, Asked::observed, Asked::needs_states, Asked::parameters, Asked::initial;
    using Asked::x, Asked::l, Asked::state, Asked::costate, Asked::copy_state, Asked::held, Asked::held_list, Asked::hold, Asked::release_all, Asked::set_aside;
    using Asked::peak_value, Asked::peak_time, Asked::peak_rate, Asked::peak_piece, Asked::peak_kind, Asked::set_peak;

    ModelNeurons()
    {
        S = S_, G = G_, P = P_;
        needs_states = M::NEEDS_STATES;
        parameters.resize(P_);
    }

    SNN_COLD void refresh() override
    {
        x.resize(std::size_t(S) * width), l.resize(std::size_t(S) * width);
        if constexpr (M::SPIKING)
        {
            const int blocks = M::SHARED ? 1 : width / LANES;
            event_.resize(blocks), reset_.resize(blocks), sigma_.resize(blocks), spike_back_.resize(blocks);
            for (int b = 0; b < blocks; b++) prepare(event_[b], b * LANES), prepare(reset_[b], b * LANES), prepare(sigma_[b], b * LANES), prepare(spike_back_[b], b * LANES);
        }
        if (M::OBSERVED) for (auto* of : {&peak_value, &peak_time, &peak_rate, &peak_piece, &peak_kind}) of->resize(width);
        held.assign(width, 0), held_list.clear();
    }

    void begin() override { release_all(); std::copy_n(initial, std::size_t(S) * width, x.begin()); }
    bool spiking() const override { return M::SPIKING; }
    bool eventful() const { return M::EVENTFUL; }
    bool fires(int r) const { bool yes = false; M::receptor(r, [&](auto q) { yes = decltype(q)::FIRES; }); return yes && M::SPIKING; }
    bool reads(int r) const { bool yes = false; M::receptor(r, [&](auto q) { yes = decltype(q)::READS; }); return yes; }

    // --- arrivals ------------------------------------------------------------------------------------------------------

    void arrive(int r, const Row& row)
    {
        M::receptor(r, [&](auto q) {
            using R = decltype(q);
            if (!row.target)
            {
                typename R::template Arrive<K> rule;
                if (M::SHARED) prepare(rule, 0);
                put_aside();
                for (int j = 0; j < width; j += LANES)
                {
                    if (!M::SHARED) prepare(rule, j);
                    D8 in[S_ + 1], out[S_];
                    take(x.begin(), j, in);
                    in[S_] = load8(row.weight + j);
                    rule.at(0.0).run(in, out);
                    put(x.begin(), j, out);
                }
                bring_back([&](int j, double* state) { arrive_held(r, j, row.weight[j], state); });
                return;
            }
            for (int k = 0; k < row.n; k++)
            {
                double state[S_];
                copy_state(row.target[k], state);
                if (M::REFRACTORY && held[row.target[k]]) arrive_held(r, row.target[k], row.weight[k], state);
                else arrive_one(r, row.target[k], row.weight[k], state);
                for (int i = 0; i < S; i++) this->state(i)[row.target[k]] = state[i];
            }
        });
    }

    void arrive_one(int r, int j, double w, double* state) const
    {
        M::receptor(r, [&](auto q) {
            typename decltype(q)::template Arrive<double> rule;
            prepare_one(rule, j);
            double in[S_ + 1], out[S_];
            std::copy_n(state, S_, in);
            in[S_] = w;
            rule.at(0.0).run(in, out);
            std::copy_n(out, S_, state);
        });
    }

    void arrive_held(int r, int j, double w, double* state) const
    {
        if constexpr (M::REFRACTORY)
            M::Held::receptor(r, [&](auto q) {
                typename decltype(q)::template Arrive<double> rule;
                prepare_one(rule, j);
                double in[S_ + 1], out[S_];
                std::copy_n(state, S_, in);
                in[S_] = w;
                rule.at(0.0).run(in, out);
                std::copy_n(out, S_, state);
            });
    }

    // states of refractory neurons, before something is done to all neurons that they are no part of
    void put_aside()
    {
        if (!M::REFRACTORY || held_list.empty()) return;
        set_aside.resize(held_list.size() * S_);
        for (std::size_t k = 0; k < held_list.size(); k++) copy_state(held_list[k], &set_aside[k * S_]);
    }
    template <class F> void bring_back(F change)
    {
        if (!M::REFRACTORY) return;
        for (std::size_t k = 0; k < held_list.size(); k++)
        {
            const int j = held_list[k];
            change(j, &set_aside[k * S_]);
            for (int i = 0; i < S_; i++) state(i)[j] = set_aside[k * S_ + i];
        }
    }

    bool refractory() const override { return M::REFRACTORY; }
    double duration(int j) const override
    {
        double d = INF;
        if constexpr (M::REFRACTORY)
        {
            typename M::template Duration<double> rule;
            prepare_one(rule, j);
            rule.at(0.0).run((const double*)nullptr, &d);
        }
        return d;
    }
    double release_back(int j, const double* state, const double* costate) const
    {
        double s = 0;
        if constexpr (M::REFRACTORY)
        {
            typename M::template Release<double> rule;
            prepare_one(rule, j);
            double in[2 * S_];
            std::copy_n(state, S_, in), std::copy_n(costate, S_, in + S_);
            rule.at(0.0).run(in, &s);
        }
        return s;
    }
    void duration_back(int j, double sens)
    {
        if constexpr (M::REFRACTORY && G_ > 0)
        {
            typename M::template DurationBack<double> rule;
            prepare_one(rule, j);
            double out[G_];
            rule.at(0.0).run(&sens, out);
            for (int k = 0; k < G_; k++) grad[k][j] += out[k];
        }
    }

    double event(const double* state, int j) const
    {
        double g = -1;
        if constexpr (M::SPIKING)
        {
            typename M::template Event<double> rule;
            prepare_one(rule, j);
            rule.at(0.0).run(state, &g);
        }
        return g;
    }

    void above(std::vector<int>& found) override
    {
        found.clear();
        if constexpr (M::SPIKING)
            for (int j = 0; j < width; j += LANES)
            {
                D8 in[S_], g;
                take(x.begin(), j, in);
                event_[block(j)].at(0.0).run(in, &g);
                for (unsigned m = bits(g > 0.0); m; m &= m - 1)
                    if (const int k = j + __builtin_ctz(m); k < n && !(M::REFRACTORY && held[k])) found.push_back(k);
            }
    }

    void reset(const double* before, int j, double* after) const
    {
        if constexpr (M::SPIKING && M::SHARED) reset_[0].at(0.0).run(before, after);
        else if constexpr (M::SPIKING)
        {
            typename M::template Reset<double> rule;
            prepare_one(rule, j);
            rule.at(0.0).run(before, after);
        }
        else std::copy_n(before, S_, after);
    }

    // --- adjoint -------------------------------------------------------------------------------------------------------

    void back_begin(double* const* gradients) override
    {
        l.fill(0);
        for (int k = 0; k < G_; k++) grad[k] = gradients[k];
    }

    void back_event(double s, int j, double* costate, const double* before, double sens, int kind)
    {
        double after[S_];
        after_event(kind, before, j, after);
        this->back_one(s, j, costate, after, M::REFRACTORY && kind == SPIKE);
        event_back(kind, j, before, costate, sens);
    }
    void event_back(int kind, int j, const double* before, double* costate, double sens)
    {
        if (kind == SPIKE) { spike_back(j, before, costate, sens, true); return; }
        M::transition(kind, [&](auto q) {
            typename decltype(q)::template Sigma<double> sigma;
            typename decltype(q)::template Back<double> rule;
            prepare_one(sigma, j), prepare_one(rule, j);
            double in[2 * S_ + 1], two[2], out[S_ + G_];
            std::copy_n(before, S_, in), std::copy_n(costate, S_, in + S_);
            sigma.at(0.0).run(in, two);
            in[2 * S_] = two[0] != 0 ? two[0] / two[1] : 0.0;
            rule.at(0.0).run(in, out);
            std::copy_n(out, S_, costate);
            for (int k = 0; k < G_; k++) grad[k][j] += out[S_ + k];
        });
    }

    double spike_back(int j, const double* before, double* costate, double sens, bool crossing)
    {
        double in[2 * S_ + 1], two[2] = {0, 1};
        if constexpr (M::SPIKING)
        {
            typename M::template Sigma<double> sigma;
            typename M::template SpikeBack<double> rule;
            if constexpr (M::SHARED) sigma = sigma_[0], rule = spike_back_[0];
            else prepare_one(sigma, j), prepare_one(rule, j);
            std::copy_n(before, S_, in);
            std::copy_n(costate, S_, in + S_);
            in[2 * S_] = sens;
            sigma.at(0.0).run(in, two);
            in[2 * S_] = crossing && two[0] != 0 ? two[0] / two[1] : 0.0;
            double out[S_ + G_];
            rule.at(0.0).run(in, out);
            std::copy_n(out, S_, costate);
            for (int k = 0; k < G_; k++) grad[k][j] += out[S_ + k];
        }
        return two[0];
    }

    // Spikes of eight neurons that share their parameters, by crossings, where no gradients by these are wanted
    SNN_INLINE void spike_back(const D8* before, D8* costate, D8 sens) const
    {
        static_assert(M::SPIKING && M::SHARED && G_ == 0);
        D8 in[2 * S_ + 1], two[2];
        SNN_IN_REGISTERS for (int i = 0; i < S_; i++) in[i] = before[i], in[S_ + i] = costate[i];
        in[2 * S_] = sens;
        sigma_[0].at(0.0).run(in, two);
        in[2 * S_] = pick(two[0] != 0.0, two[0] / two[1], all(0));
        spike_back_[0].at(0.0).run(in, costate);
    }

    bool jumps(int r) const override { bool yes = true; M::receptor(r, [&](auto q) { yes = decltype(q)::JUMPS[observed]; }); return yes; }

    double arrive_back(int r, const Row& row, double* gradient, const double* state, bool timed)
    {
        double sum = 0;
        M::receptor(r, [&](auto q) {
            using R = decltype(q);
            if (row.target)
            {
                for (int k = 0; k < row.n; k++)
                {
                    double one[S_];
                    if (state) for (int i = 0; i < S; i++) one[i] = state[std::size_t(i) * width + row.target[k]];
                    sum += arrive_back_one(r, row.target[k], row.weight[k], gradient[k], one);
                }
                return;
            }
            typename R::template ArriveBack<K> rule;
            if (M::SHARED) prepare(rule, 0);
            // `this->`: in an `if constexpr` of a lambda, GCC 12 does not find what comes from a base
            if constexpr (M::SHARED && R::KEEPS && !R::READS && !M::REFRACTORY && G_ == 0)
                if (!timed)  // the weights' gradient is all there is
                {
                    const auto at = rule.at(0.0);
                    for (int j = 0; j < this->width; j += LANES)
                    {
                        D8 in[2 * S_ + 1], out[2 + S_];
                        take(this->l.begin(), j, in + S_);
                        in[2 * S_] = R::WEIGHTED ? load8(row.weight + j) : all(0);
                        at.run(in, out);
                        store8(gradient + j, load8(gradient + j) + out[0]);
                    }
                    return;
                }
            D8 s = all(0);
            const bool some_held = M::REFRACTORY && !held_list.empty();
            for (int j = 0; j < width; j += LANES)
            {
                if (!M::SHARED) prepare(rule, j);
                D8 in[2 * S_ + 1], out[2 + S_ + G_];
                if constexpr (R::READS) take(state, j, in);
                take(l.begin(), j, in + S_);
                in[2 * S_] = load8(row.weight + j);
                rule.at(0.0).run(in, out);
                if (some_held)
                    for (int lane = 0; lane < LANES; lane++)
                        if (held[j + lane])
                        {
                            for (int k = 0; k < 2 + S_ + G_; k++) out[k][lane] = 0;
                            for (int i = 0; i < S_; i++) out[2 + i][lane] = in[S_ + i][lane];
                        }
                store8(gradient + j, load8(gradient + j) + out[0]);
                s += out[1];
                if constexpr (!R::KEEPS) put(this->l.begin(), j, out + 2);
                for (int k = 0; k < G_; k++) store8(grad[k] + j, load8(grad[k] + j) + out[2 + S_ + k]);
            }
            sum = total(s);
            if (some_held)
                for (int j : held_list)
                {
                    double one[S_];
                    if (state) for (int i = 0; i < S; i++) one[i] = state[std::size_t(i) * width + j];
                    sum += arrive_back_one(r, j, row.weight[j], gradient[j], one);
                }
        });
        return sum;
    }

    double arrive_back_one(int r, int j, double w, double& gradient, const double* state)
    {
        if constexpr (M::REFRACTORY)
            if (held[j]) return arrive_back_rules<typename M::Held>(r, j, w, gradient, state);
        return arrive_back_rules<M>(r, j, w, gradient, state);
    }

    template <class RULES> double arrive_back_rules(int r, int j, double w, double& gradient, const double* state)
    {
        double s = 0;
        RULES::receptor(r, [&](auto q) {
            typename decltype(q)::template ArriveBack<double> rule;
            prepare_one(rule, j);
            double in[2 * S_ + 1], out[2 + S_ + G_];
            if (decltype(q)::READS) std::copy_n(state, S_, in);
            for (int i = 0; i < S_; i++) in[S_ + i] = costate(i)[j];
            in[2 * S_] = w;
            rule.at(0.0).run(in, out);
            gradient += out[0];
            s = out[1];
            for (int i = 0; i < S_; i++) costate(i)[j] = out[2 + i];
            for (int k = 0; k < G_; k++) grad[k][j] += out[2 + S_ + k];
        });
        return s;
    }

    double lowers(int r, int j, double w, const double* state)
    {
        double result = 0;
        M::receptor(r, [&](auto q) {
            typename decltype(q)::template ArriveBack<double> rule;
            prepare_one(rule, j);
            double in[2 * S_ + 1] = {}, out[2 + S_ + G_];
            if (decltype(q)::READS) for (int i = 0; i < S; i++) in[i] = state[std::size_t(i) * width + j];
            in[S_ + observed] = 1, in[2 * S_] = w;
            rule.at(0.0).run(in, out);
            result = out[1];
        });
        return result;
    }

    void back_end()
    {
        if constexpr (G_ > 0)
            for (int j = 0; j < n; j++)
            {
                typename M::template InitialBack<double> rule;
                prepare_one(rule, j);
                double in[S_], out[G_];
                for (int i = 0; i < S_; i++) in[i] = costate(i)[j];
                rule.at(0.0).run(in, out);
                for (int k = 0; k < G_; k++) grad[k][j] += out[k];
            }
    }

    // --- maxima --------------------------------------------------------------------------------------------------------

    void peaks_begin() override
    {
        peak_value.fill(INF);  // the padding is never passed
        for (int j = 0; j < n; j++) set_peak(j, {state(observed)[j], 0, 0, -1, Peak::START});
    }

    // arrivals at `t` have moved the observed state itself from `was`
    void peaks_jump(const double* was, double t, int piece)
    {
        if constexpr (M::OBSERVED)
            for (int j = 0; j < n; j++)
            {
                const double now = state(observed)[j];
                if (now == was[j] || !(now > peak_value[j])) continue;
                double one[S_], out[4];
                copy_state(j, one);
                peak_rule(j, one, out);
                set_peak(j, {now, t, -out[1], piece, Peak::AFTER});
            }
    }

    // The state just after an event
    void after_event(int kind, const double* before, int j, double* after) const
    {
        if (kind == SPIKE) return reset(before, j, after);
        M::transition(kind, [&](auto q) {
            typename decltype(q)::template Turn<double> rule;
            prepare_one(rule, j);
            rule.at(0.0).run(before, after);
        });
    }
    // whether a neuron just after a transition is driven back across its surface
    bool turns_back(int kind, const double* after, int j) const
    {
        double in[2 * S_] = {}, two[2] = {};
        M::transition(kind, [&](auto q) {
            typename decltype(q)::template Sigma<double> sigma;
            prepare_one(sigma, j);
            std::copy_n(after, S_, in);
            sigma.at(0.0).run(in, two);
        });
        return two[1] > 0;
    }

    // conditions of a neuron that read a driven input, which has jumped
    void decide(int input, int j)
    {
        M::knot(input, [&](auto q) {
            typename decltype(q)::template Rule<double> rule;
            double before[S_], after[S_];
            prepare_one(rule, j);
            copy_state(j, before);
            rule.at(0.0).run(before, after);
            for (int i = 0; i < S_; i++) state(i)[j] = after[i];
        });
    }

    void follow(double s, int j, const double* before, int kind)
    {
        double after[S_], to[S_];
        after_event(kind, before, j, after);
        hold(j, M::REFRACTORY && kind == SPIKE);
        this->flow_one(s, j, after, to);
        for (int i = 0; i < S_; i++) state(i)[j] = to[i];
    }

protected:
    int block(int j) const { return M::SHARED ? 0 : j / LANES; }
    // the state whose maximum is asked for, known to the compiler
    static constexpr int observed_() { return M::SEEN; }
    SNN_INLINE void take(const double* from, int j, D8* to) const { take(from, j, to, width); }
    SNN_INLINE static void take(const double* from, int j, D8* to, int stride) { for (int i = 0; i < S_; i++) to[i] = load8(from + std::size_t(i) * stride + j); }
    SNN_INLINE void put(double* to, int j, const D8* from) const { for (int i = 0; i < S_; i++) store8(to + std::size_t(i) * width + j, from[i]); }
    template <class C> SNN_INLINE void values(int j, C* p) const
    {
        for (int k = 0; k < P_; k++) p[k] = M::PER_NEURON[k] ? load<C>(parameters[k] + j) : as<C>(*parameters[k]);
    }
    template <class R> SNN_INLINE void prepare(R& rule, int j) const { K p[P_ + 1]; values<K>(j, p); rule.prepare(p); }
    template <class R> SNN_INLINE void prepare_one(R& rule, int j) const { double p[P_ + 1]; values<double>(j, p); rule.prepare(p); }

    // the observed state, and minus its slope and the slope's derivatives
    void peak_rule(int j, const double* at, double* out) const
    {
        if constexpr (M::OBSERVED)
        {
            typename M::template Peak<double> rule;
            prepare_one(rule, j);
            rule.at(0.0).run(at, out);
        }
    }

    std::vector<typename M::template Event<K>> event_;
    std::vector<typename M::template Reset<K>> reset_;
    std::vector<typename M::template Sigma<K>> sigma_;
    std::vector<typename M::template SpikeBack<K>> spike_back_;
    double* grad[G_ + 1] = {};
    SpikeSort sort;
};

}  // namespace snn
