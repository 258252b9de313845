{# Replaces Brian2CUDA 1.0b1's template of this name. There, every run but the first writes its rates over those of the
   runs before. #}
{# USES_VARIABLES { N, rate, t, _spikespace, _clock_t, _clock_dt,
                    _num_source_neurons, _source_start, _source_stop } #}
{# WRITES_TO_READ_ONLY_VARIABLES { N } #}
{% extends 'common_group.cu' %}

{% block define_N %}
{% endblock %}

{% block host_maincode %}
    // how many entries there are before this run, and the step at which it starts
    static const int _earlier = dev{{_dynamic_t}}.size();
    static const int _first_step = {{owner.clock.name}}.timestep[0];
{% endblock %}

{% block prepare_kernel_inner %}
    const int _entries = _earlier + {{owner.clock.name}}.i_end - _first_step;
    THRUST_CHECK_ERROR(dev{{_dynamic_t}}.resize(_entries));
    THRUST_CHECK_ERROR(dev{{_dynamic_rate}}.resize(_entries));
    // what indexing from Python reads
    _array_{{owner.name}}_N[0] = _entries;
    CUDA_SAFE_CALL(
        cudaMemcpy(dev_array_{{owner.name}}_N, _array_{{owner.name}}_N, sizeof(int32_t), cudaMemcpyHostToDevice)
    );
    num_threads = 1;
    num_blocks = 1;
{% endblock %}

{% block kernel_call %}
    _run_kernel_{{codeobj_name}}<<<num_blocks, num_threads>>>(
        _earlier + {{owner.clock.name}}.timestep[0] - _first_step,
        thrust::raw_pointer_cast(dev{{_dynamic_rate}}.data()),
        thrust::raw_pointer_cast(dev{{_dynamic_t}}.data()),
        ///// HOST_PARAMETERS /////
        %HOST_PARAMETERS%);
    CUDA_CHECK_ERROR("_run_kernel_{{codeobj_name}}");
{% endblock %}

{% block kernel %}
__global__ void _run_kernel_{{codeobj_name}}(
    int _entry,
    {{c_data_type(variables['rate'].dtype)}}* _rates,
    {{c_data_type(variables['t'].dtype)}}* _times,
    ///// KERNEL_PARAMETERS /////
    %KERNEL_PARAMETERS%
    )
{
    using namespace brian;

    ///// KERNEL_CONSTANTS /////
    %KERNEL_CONSTANTS%

    ///// kernel_lines /////
    {{kernel_lines|autoindent}}

    // the last element of the spike space is the number of spikes, which come in any order
    const int _all = {{_spikespace}}[_num_spikespace - 1];
    int _spikes = _all;
    if (_num_source_neurons < _num_spikespace - 1)  // a subgroup
    {
        _spikes = 0;
        for (int _k = 0; _k < _all; _k++)
        {
            const int _neuron = {{_spikespace}}[_k];
            _spikes += _source_start <= _neuron && _neuron < _source_stop;
        }
    }
    _rates[_entry] = _spikes / {{_clock_dt}} / _num_source_neurons;
    _times[_entry] = {{_clock_t}};
}
{% endblock %}
