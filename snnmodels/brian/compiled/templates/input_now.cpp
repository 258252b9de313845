{# USES_VARIABLES { t_in_timesteps } #}
{# ALLOWS_SCALAR_WRITE #}
{% extends 'common_group.cpp' %}

{# Spikes of an input in this step, from a list in the order of the steps #}
{% block maincode %}
    {% macro a(name) %}{{get_array_name(variables['_snn_' + name])}}{% endmacro %}
    const int _step = {% if backward %}{{steps}} - 1 - {{t_in_timesteps}}{% else %}{{t_in_timesteps}}{% endif %};
    const int _first = {{a('ev_end')}}[_step], _past = {{a('ev_end')}}[_step + 1];
    for (int _k = _first; _k < _past; _k++)
    {
        const int _i = {{a('ev_neuron')}}[_k];
        {{a('ev_now')}}[_k - _first] = _i;
        {{a('s_arrival')}}[_i] = {{a('ev_s')}}[_k];
        {% if backward %}
        {{a('q_time')}}[_i] = 0;
        {% endif %}
    }
    {{a('ev_now')}}[{{n}}] = _past - _first;
{% endblock %}
