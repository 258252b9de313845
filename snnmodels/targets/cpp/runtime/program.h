// The program around the engine: it reads what to simulate from a file that it shares with Python, and answers one word
// with another. The order in which numbers are read here is that in which layout.py writes them.
#pragma once
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <thread>
#include "adam.h"
#include "exchange.h"
#include "losses.h"
#include "simulator.h"

namespace snn {

Neurons* make_population(int model);  // generated

struct InputArrays { int n; const double* times; double* gradient; const double* queued; };
struct PopulationArrays { double *times, *cotangent; std::int64_t capacity; };

struct Moments { double *mean, *square; };
// Batches to be trained on one after the other without a word to Python
struct Queue
{
    const std::int64_t *sizes, *targets;  // trials of every batch; labels of all their trials
    std::int64_t* predictions;
    // number of batches, kind of loss (0 first spikes, 1 maxima), beta1, beta2, the loss's constants, factors on the rate
    const double *numbers, *corrections;  // corrections: epsilon and rate of every batch
    double* results;                      // of every batch: loss, silent trials, smallest slope, spikes of populations
    std::vector<Moments> moments;         // null where the weights are not learnable
};

class Program : public Exchange
{
    bool answer(const std::string& word) override
    {
        if (word == "layout") layout();
        else if (word == "values") refresh();
        else if (word == "forward") forward();
        else if (word == "ties") count_ties();
        else if (word == "backward") backward();
        else if (word == "train") train();
        else if (word == "spikes") { const int k = argument(); if (k >= 0) spikes(k); }
        else return false;
        return true;
    }

    static constexpr int nobody = 0;

    SNN_COLD void layout()
    {
        map();
        net = Network();
        batch = array<std::int64_t>();
        results = array<double>();
        const double* reals = array<double>();
        net.duration = reals[0], net.window = reals[1], net.tolerance = reals[2], net.max_spikes = reals[3];
        net.maxima = number();
        net.readout = int(number()), net.observed = int(number());
        net.input_gradients = number();
        net.scattering = int(number()), net.sweeping = number();
        threads = int(number());
        maxima = array<double>(), maxima_error = array<double>();
        for (int k = int(number()); k > 0; k--)
        {
            Sampling s;
            s.population = int(number()), s.state = int(number()), s.count = int(number());
            s.times = array<double>(), s.values = array<double>(), s.error = array<double>();
            net.samplings.push_back(s);
        }
        plan_stops();
        net.inputs = int(number());
        inputs.clear();
        for (int k = 0; k < net.inputs; k++)
        {
            InputArrays in;
            in.n = int(number()), in.times = array<double>(), in.gradient = array<double>();
            inputs.push_back(in);
        }
        struct Given { int model, n, width; std::vector<const double*> parameters; const double *initial, *bounds = nullptr, *peaks = nullptr; };
        std::vector<Given> given;
        gradients.clear();
        auto read = [&] {
            Given g;
            g.model = int(number()), g.n = int(number()), g.width = int(number());
            for (int p = int(number()); p > 0; p--) g.parameters.push_back(array<double>());
            g.initial = array<double>();
            gradients.emplace_back();
            for (int p = int(number()); p > 0; p--) gradients.back().push_back(array<double>());
            given.push_back(g);
        };
        net.populations = int(number());
        populations.assign(net.populations, {});
        for (PopulationArrays& p : populations)
        {
            read();
            given.back().bounds = array<double>(), given.back().peaks = array<double>();
            p.times = array<double>(), p.cotangent = array<double>(), p.capacity = number();
        }
        for (int k = int(number()); k > 0; k--) read();  // states of sources
        for (int k = int(number()); k > 0; k--)
        {
            Projection p;
            p.source = int(number()), p.target = int(number()), p.receptor = int(number()), p.sources = int(number());
            p.sparse = number(), p.delayed = number(), p.timed = number(), p.delay_learnable = number();
            p.rows = int(number()), p.width = int(number());
            p.weight = array<double>(), p.weight_gradient = array<double>();
            p.delay = array<double>(), p.delay_gradient = array<double>();
            p.first = array<std::int64_t>(), p.neuron = array<int>();
            if (p.sparse && !p.neuron) p.neuron = &nobody;  // a mask without connections: no row is one of all neurons
            net.projections.push_back(p);
        }
        for (int k = int(number()); k > 0; k--)
        {
            Component c;
            for (int m = int(number()); m > 0; m--) c.populations.push_back(int(number()));
            for (int m = int(number()); m > 0; m--) c.incoming.push_back(int(number()));
            net.components.push_back(c);
        }
        for (int k = int(number()); k > 0; k--)
        {
            Drive d;
            d.population = int(number()), d.input = int(number()), d.state = int(number()), d.knots = int(number());
            d.times = array<double>(), d.jumps = array<double>(), d.values = array<double>(), d.slopes = array<double>();
            d.value_gradient = array<double>(), d.slope_gradient = array<double>();
            d.trials = batch + 2 + net.inputs + net.drives.size();
            for (Component& c : net.components)
                if (std::find(c.populations.begin(), c.populations.end(), d.population) != c.populations.end()) c.drives.push_back(int(net.drives.size()));
            net.drives.push_back(d);
        }
        queue.sizes = array<std::int64_t>(), queue.targets = array<std::int64_t>(), queue.predictions = array<std::int64_t>();
        queue.numbers = array<double>(), queue.corrections = array<double>(), queue.results = array<double>();
        for (InputArrays& in : inputs) in.queued = array<double>();
        queue.moments.clear();
        for (std::size_t q = 0; q < net.projections.size(); q++)
        {
            Moments m;
            m.mean = array<double>(), m.square = array<double>();
            queue.moments.push_back(m);
        }
        simulators.clear();
        for (int t = 0; t < threads; t++)
        {
            std::vector<std::unique_ptr<Neurons>> neurons;
            for (int k = 0; k < int(given.size()); k++)
            {
                std::unique_ptr<Neurons> p(make_population(given[k].model));
                p->n = given[k].n, p->width = given[k].width, p->index = k;
                p->parameters = given[k].parameters, p->initial = given[k].initial;
                p->bounds = given[k].bounds, p->peak_bounds = given[k].peaks;
                p->ladder.longest = net.window, p->tolerance = net.tolerance, p->max_spikes = net.max_spikes;
                p->observed = k == net.readout ? net.observed : 0;
                neurons.push_back(std::move(p));
            }
            simulators.push_back(make_simulator(net, std::move(neurons)));
        }
        refresh();
    }

    // All times at which states are read, in order, with what is read at each
    SNN_COLD void plan_stops()
    {
        std::vector<Timed> all;
        for (int s = 0; s < int(net.samplings.size()); s++)
            for (int k = 0; k < net.samplings[s].count; k++) all.push_back({net.samplings[s].times[k], s, k});
        by_time(all);
        for (const Timed& x : all)
        {
            if (net.stops.empty() || net.stops.back().t != x.t) net.stops.push_back({x.t, {}});
            net.stops.back().readings.push_back({x.first, x.second});
        }
    }

    SNN_COLD void refresh()
    {
        for (Component& c : net.components)
        {
            c.shortest = INF;
            for (int q : c.incoming)
            {
                const Projection& p = net.projections[q];
                if (std::find(c.populations.begin(), c.populations.end(), p.source - net.inputs) == c.populations.end()) continue;
                if (!p.delayed) c.shortest = std::min(c.shortest, *p.delay);
                else for (int i = 0; i < p.rows; i++) if (p.first[i] < p.first[i + 1]) c.shortest = std::min(c.shortest, p.delay[p.first[i]]);
            }
        }
        for (auto& s : simulators) s->refresh();
        for (Component& c : net.components)
        {
            c.soonest = c.shortest;
            for (int k : c.populations)
            {
                const Neurons& p = *simulators[0]->populations()[k];
                if (p.refractory()) for (int j = 0; j < p.n; j++) c.soonest = std::min(c.soonest, p.duration(j));
            }
        }
    }

    // Runs f(simulator, trial) for all trials; trial b belongs to the thread b * threads / trials, whatever the load, so that
    // sums are the same in every run
    template <class F> void each_trial(const F& f)
    {
        run_trials([](const void* f, Simulator& s, int b) { (*static_cast<const F*>(f))(s, b); }, &f);
    }
    void run_trials(void (*run)(const void*, Simulator&, int), const void* f)
    {
        const int n = int(batch[0]), workers = std::min<int>(threads, n);
        if (workers <= 1)
        {
            for (int b = 0; b < n; b++) run(f, *simulators[0], b);
            return;
        }
        std::vector<std::thread> pool;
        std::vector<std::exception_ptr> failures(workers);
        auto work = [&](int w) {
            try { for (int b = int(std::int64_t(w) * n / workers); b < int(std::int64_t(w + 1) * n / workers); b++) run(f, *simulators[w], b); }
            catch (...) { failures[w] = std::current_exception(); }
        };
        for (int w = 1; w < workers; w++) pool.emplace_back(work, w);
        work(0);
        for (auto& t : pool) t.join();
        for (const auto& x : failures) if (x) std::rethrow_exception(x);
    }

    void forward()
    {
        const int n = int(batch[0]);
        const bool gradient = batch[1];
        if (int(trials.size()) < n) trials.resize(n);
        for (auto& s : simulators)
        {
            s->ties = 0, s->left_out = false;
            for (auto& p : s->populations()) p->smallest_gdot = INF;
        }
        const int n_out = simulators[0]->populations()[net.readout]->n;
        each_trial([&](Simulator& s, int b) {
            Trial& trial = trials[b];
            trial.number = b;
            trial.trains.resize(net.inputs + populations.size());
            for (int k = 0; k < net.inputs; k++) schedule(k, inputs[k].times, b, trial.trains[k]);
            s.forward(trial, b, gradient);
        });
        double gdot = INF;
        bool left_out = false;
        ties = 0;
        for (auto& s : simulators)
        {
            ties += s->ties, left_out = left_out || s->left_out;
            for (auto& p : s->populations()) gdot = std::min(gdot, p->smallest_gdot);
        }
        results[0] = gdot, results[1] = left_out ? std::numeric_limits<double>::quiet_NaN() : double(ties);
        for (std::size_t k = 0; k < populations.size(); k++)
        {
            double count = 0;
            for (int b = 0; b < n; b++) count += trials[b].trains[net.inputs + k].size();
            results[2 + k] = count;
        }
        if (net.maxima)
            for (int b = 0; b < n; b++)
                for (int j = 0; j < n_out; j++) maxima[std::size_t(b) * n_out + j] = trials[b].peaks[j].value;
        for (std::size_t k = 0; k < populations.size(); k++) if (populations[k].cotangent) spikes(int(k));
    }

    // Spike times of one trial of an input, sorted by time, then source; those after the end of the trial never come
    void schedule(int k, const double* times, std::size_t b, Train& train)
    {
        const InputArrays& in = inputs[k];
        const int per = int(batch[2 + k]), m = in.n * per;
        const double* t = times + b * m;
        static thread_local std::vector<Timed> planned;  // with their places
        static thread_local TimeSort<Timed> by_time;
        static thread_local Plain<int> who;  // who spikes at all, found eight at a time without a branch, which nobody could guess
        who.resize(m + LANES);
        int come = 0, i = 0;
        for (; i + LANES <= m; i += LANES)
        {
            const unsigned some = bits_above(all(net.duration), load8(t + i));
            squeeze(&who[come], some, N8{0, 1, 2, 3, 4, 5, 6, 7} + i), come += __builtin_popcount(some);
        }
        for (; i < m; i++) who[come] = i, come += t[i] < net.duration;
        planned.resize(come);
        for (int k = 0; k < come; k++) planned[k] = {t[who[k]], who[k], 0};
        by_time(planned);
        const std::size_t n = planned.size();
        train.clear();
        train.t.resize(n), train.neuron.resize(n), train.slot.resize(n);
        for (std::size_t k = 0; k < n; k++) train.t[k] = planned[k].t, train.slot[k] = planned[k].first, train.neuron[k] = planned[k].first / per;
    }

    // Spike times of a population as an array (trials, n, capacity) padded with infinity; what it would need is in
    // results[2 + number of populations + k], and where that is more than there is, nothing is written
    void spikes(int k)
    {
        const int n = int(batch[0]), size = simulators[0]->populations()[k]->n;
        PopulationArrays& to = populations[k];
        int most = 0;
        counts.assign(size, 0);
        for (int b = 0; b < n; b++)
        {
            std::fill(counts.begin(), counts.end(), 0);
            for (int j : trials[b].trains[net.inputs + k].neuron) most = std::max(most, ++counts[j]);
        }
        results[2 + populations.size() + k] = most;
        most = std::max(most, 1);
        if (most > to.capacity) return;
        for (int b = 0; b < n; b++)
        {
            double* rows = to.times + std::size_t(b) * size * most;
            std::fill_n(rows, std::size_t(size) * most, INF);
            std::fill(counts.begin(), counts.end(), 0);
            const Train& train = trials[b].trains[net.inputs + k];
            for (int i = 0; i < train.size(); i++) rows[std::size_t(train.neuron[i]) * most + counts[train.neuron[i]]++] = train.t[i];
        }
    }

    void backward()
    {
        const int n = int(batch[0]), n_out = simulators[0]->populations()[net.readout]->n;
        for (auto& s : simulators) s->backward_begin(s == simulators[0]);
        each_trial([&](Simulator& s, int b) {
            Cotangent loss;
            std::vector<SpikeCotangent> read;
            for (std::size_t k = 0; k < populations.size(); k++)
            {
                const int most = std::max(1, int(results[2 + populations.size() + k]));
                if (populations[k].cotangent) read.push_back({int(k), populations[k].cotangent + std::size_t(b) * s.populations()[k]->n * most, most});
            }
            loss.spikes = read.data(), loss.populations = int(read.size());
            if (net.maxima) loss.maxima = maxima_error + std::size_t(b) * n_out;
            if (!net.samplings.empty()) loss.sampled = b;
            s.backward(trials[b], loss);
        });
        if (net.input_gradients)
            for (int k = 0; k < net.inputs; k++)
            {
                const std::size_t size = std::size_t(inputs[k].n) * batch[2 + k];
                std::fill_n(inputs[k].gradient, size * n, 0.0);
                for (int b = 0; b < n; b++)
                {
                    const Train& train = trials[b].trains[k];
                    for (int i = 0; i < train.size(); i++) inputs[k].gradient[b * size + train.slot[i]] = train.sens[i];
                }
            }
        for (std::size_t q = 0; q < net.projections.size(); q++)
        {
            const Projection& p = net.projections[q];
            sum(p.weight_gradient, p.entries(), [&](Simulator& s) { return s.weight_sums[q].begin(); });
            sum(p.delay_gradient, p.delayed ? p.entries() : 1, [&](Simulator& s) { return s.delay_sums[q].begin(); });
        }
        for (std::size_t k = 0; k < gradients.size(); k++)
        {
            const int width = simulators[0]->populations()[k]->width;
            for (std::size_t g = 0; g < gradients[k].size(); g++)
                sum(gradients[k][g], width, [&](Simulator& s) { return s.parameter_sums[k].begin() + g * width; });
        }
    }

    void train()
    {
        const int n_batches = int(queue.numbers[0]), n_out = simulators[0]->populations()[net.readout]->n;
        const bool first_spikes = queue.numbers[1] == 0;
        const double *constants = queue.numbers + 4, *factors = queue.numbers + 8;
        const std::size_t per_batch = 3 + populations.size();
        std::size_t done = 0;
        for (int k = 0; k < n_batches; k++)
        {
            const int n = int(queue.sizes[k]);
            batch[0] = n;
            if (int(trials.size()) < n) trials.resize(n);
            losses.assign(n, {}), spiked.resize(n * populations.size());
            for (auto& s : simulators)
            {
                s->ties = 0;
                s->backward_begin(s == simulators[0]);
                for (auto& p : s->populations()) p->smallest_gdot = INF;
            }
            each_trial([&](Simulator& s, int b) {
                // what nobody reads later is written where the processor has the last trial at hand; of the last batch, spikes may be asked for
                Trial& trial = k + 1 < n_batches ? s.trial : trials[b];
                trial.trains.resize(net.inputs + populations.size());
                for (int i = 0; i < net.inputs; i++) schedule(i, inputs[i].queued, done + b, trial.trains[i]);
                s.forward(trial, -1, true);
                std::vector<double>& error = s.scratch;
                error.resize(2 * n_out);
                Cotangent loss;
                SpikeCotangent first;
                const std::int64_t label = queue.targets[done + b];
                if (first_spikes)
                {
                    const Train& output = trial.trains[net.inputs + net.readout];
                    double* earliest = error.data() + n_out;
                    std::fill_n(earliest, n_out, INF);
                    for (int i = 0; i < output.size(); i++) earliest[output.neuron[i]] = std::min(earliest[output.neuron[i]], output.t[i]);
                    losses[b] = ttfs(earliest, n_out, label, n, constants, error.data());
                    first = {net.readout, error.data(), 1};
                    loss.spikes = &first, loss.populations = 1;
                }
                else
                {
                    double* largest = error.data() + n_out;
                    for (int j = 0; j < n_out; j++) largest[j] = trial.peaks[j].value;
                    losses[b] = max_voltage(largest, n_out, label, n, constants, error.data());
                    loss.maxima = error.data();
                }
                s.backward(trial, loss);
                for (std::size_t p = 0; p < populations.size(); p++) spiked[b * populations.size() + p] = trial.trains[net.inputs + p].size();
            });
            double* result = queue.results + k * per_batch;
            std::fill_n(result, per_batch, 0.0);
            result[2] = INF;
            for (int b = 0; b < n; b++)
            {
                result[0] += losses[b].value / n, result[1] += losses[b].silent;
                queue.predictions[done + b] = losses[b].prediction;
                for (std::size_t p = 0; p < populations.size(); p++) result[3 + p] += spiked[b * populations.size() + p];
            }
            for (auto& s : simulators) for (auto& p : s->populations()) result[2] = std::min(result[2], p->smallest_gdot);
            for (std::size_t q = 0; q < net.projections.size(); q++)
            {
                if (!queue.moments[q].mean) continue;
                Projection& p = net.projections[q];
                double* total = simulators[0]->weight_sums[q].begin();
                for (std::size_t t = 1; t < simulators.size(); t++)
                {
                    const double* other = simulators[t]->weight_sums[q].begin();
                    for (std::int64_t i = 0; i < p.entries(); i++) total[i] += other[i];
                }
                if (!all_finite(total, std::size_t(p.entries())))
                    for (std::int64_t i = 0; i < p.entries(); i++)
                        if (!std::isfinite(total[i])) throw Failure{"gradient", p.target, p.sparse ? p.neuron[i] : int(i % p.width), double(k + 1)};
                snn_adam(const_cast<double*>(p.weight), total, queue.moments[q].mean, queue.moments[q].square, std::size_t(p.entries()),
                         queue.numbers[2], queue.numbers[3], queue.corrections[2 * k], queue.corrections[2 * k + 1] * factors[q]);
            }
            done += n;
        }
    }
    Queue queue;
    std::vector<TrialLoss> losses;
    std::vector<int> spiked;  // by trial and population

    // of the last batch, with those that are counted when they are asked for
    void count_ties()
    {
        double late = 0;
        for (int b = 0; b < int(batch[0]); b++) late += double(simulators[0]->late_ties(trials[b]));
        results[1] = double(ties) + late;
    }

    template <class F> void sum(double* to, std::int64_t size, F of)
    {
        if (!to) return;
        if (of(*simulators[0]) != to) std::copy_n(of(*simulators[0]), size, to);
        for (std::size_t t = 1; t < simulators.size(); t++)
        {
            const double* from = of(*simulators[t]);
            for (std::int64_t i = 0; i < size; i++) to[i] += from[i];
        }
    }

    int threads = 1;
    long ties = 0;  // of the last batch
    std::int64_t* batch = nullptr;
    double *results = nullptr, *maxima = nullptr;
    const double* maxima_error = nullptr;
    Network net;
    std::vector<InputArrays> inputs;
    std::vector<PopulationArrays> populations;
    std::vector<std::vector<double*>> gradients;  // of populations and of states of sources, by parameter
    std::vector<std::unique_ptr<Simulator>> simulators;
    std::vector<Trial> trials;
    std::vector<int> counts;
    TimeSort<Timed> by_time;
};

}  // namespace snn
