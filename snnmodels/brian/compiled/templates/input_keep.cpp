{# USES_VARIABLES { t_in_timesteps } #}
{# ALLOWS_SCALAR_WRITE #}
{% extends 'common_group.cpp' %}

{# Sensitivity to the times of the spikes of this step, kept in their list #}
{% block maincode %}
    {% macro a(name) %}{{get_array_name(variables['_snn_' + name])}}{% endmacro %}
    const int _step = {{steps}} - 1 - {{t_in_timesteps}};
    for (int _k = {{a('ev_end')}}[_step]; _k < {{a('ev_end')}}[_step + 1]; _k++)
        {{a('ev_grad')}}[_k] = {{a('q_time')}}[{{a('ev_neuron')}}[_k]];
{% endblock %}
