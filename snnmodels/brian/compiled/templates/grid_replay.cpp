{# USES_VARIABLES { t_in_timesteps, dt } #}
{# ALLOWS_SCALAR_WRITE #}
{% extends 'common_group.cpp' %}

{# Before the arrivals of a step are met backward: which neurons spiked in it, and when #}
{% block maincode %}
    {% macro a(name) %}{{get_array_name(variables['_snn_' + name])}}{% endmacro %}
    const double dt = {{dt}};
    const int _step = {{steps}} - 1 - {{t_in_timesteps}};
    {% if spiking %}
    const int _first = {{a('ev_end')}}[_step], _past = {{a('ev_end')}}[_step + 1];
    for (int _k = _first; _k < _past; _k++)
    {
        const int _i = {{a('ev_neuron')}}[_k];
        {{a('ev_now')}}[_k - _first] = _i;
        {{a('s_arrival')}}[_i] = {% if precise %}dt - {{a('ev_r')}}[_k]{% else %}0{% endif %};
    }
    {{a('ev_now')}}[{{n}}] = _past - _first;
    {% endif %}
    {% if coupled %}
    {% for x in recorded_base %}
    std::copy({{a('tb_' + x)}} + (size_t)_step*{{n}}, {{a('tb_' + x)}} + (size_t)(_step + 1)*{{n}}, {{a('keep_' + x)}});
    {% endfor %}
    {% for x in states %}
    std::fill({{a('added_lambda_' + x)}}, {{a('added_lambda_' + x)}} + {{n}}, 0.0);
    {% endfor %}
    {% endif %}
{% endblock %}
