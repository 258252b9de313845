// Exact event simulation of a sparse network of LIF neurons, and its adjoint; one trial, on one thread. By windows where
// delays allow it, else in the order of time.

#include "in_order.h"
#include "windows.h"

extern "C" struct Settings {
    int n, n_inputs, driven, in_order, most;
    double tau_m, tau_0, tau_1, threshold, reset, refractory, delay, window;
};

struct Sparse {
    Sparse(const Settings& s) : net(s.n, s.n_inputs) {}
    Network net;
    std::unique_ptr<Engine> engine;
    double duration = 0;
};

extern "C" {

// Synapses by source: start (n + 1), target, weight, delay or null; receptor by source; inputs (n_inputs, n).
Sparse* sparse_new(const Settings* s, const int* start, const int* target, const double* weight, const double* delay,
                   const unsigned char* receptor, const double* inputs, const double* initial) {
    Sparse* x = new Sparse(*s);
    Network& net = x->net;
    const int synapses = start[s->n];
    const auto padded = [&](auto& to, const auto* from) {
        to.assign(from, from + synapses);
        to.resize(synapses + LANES);
    };
    net.start.assign(start, start + s->n + 1);
    padded(net.target, target);
    padded(net.weight, weight);
    net.receptor.assign(receptor, receptor + s->n);
    net.inputs.set(inputs);
    net.initial.assign(initial, initial + s->n);
    net.driven = s->driven;
    net.tau_m = s->tau_m, net.tau[0] = s->tau_0, net.tau[1] = s->tau_1;
    net.threshold = s->threshold, net.reset = s->reset, net.refractory = s->refractory;
    net.common_delay = net.shortest = net.longest = s->delay;
    if (delay) {
        padded(net.delay, delay);
        net.shortest = *std::min_element(delay, delay + synapses);
        net.longest = *std::max_element(delay, delay + synapses);
    }
    if (s->in_order) x->engine = std::make_unique<InOrder>(net, s->window, s->most);
    else x->engine = std::make_unique<Windows>(net, s->window, s->most);
    return x;
}
void sparse_free(Sparse* x) { delete x; }
// times ascending
int sparse_forward(Sparse* x, const double* times, const int* sources, int n, double duration) {
    x->net.input_time.assign(times, times + n);
    x->net.input.assign(sources, sources + n);
    x->duration = duration;
    x->engine->forward(duration);
    return int(x->engine->spikes.size());
}
void sparse_spikes(Sparse* x, double* times, int* neurons) {
    for (const Spike& s : x->engine->spikes) *times++ = s.time, *neurons++ = s.neuron;
}
void sparse_backward(Sparse* x, const double* sensitivity) { x->engine->backward(x->duration, sensitivity); }
void sparse_gradient(Sparse* x, double* weights, double* inputs) {
    std::copy_n(x->engine->gradient.data(), x->net.start[x->net.n], weights);
    x->engine->input_gradient.get(inputs);
}
}
