{# USES_VARIABLES { t_in_timesteps } #}
{# ALLOWS_SCALAR_WRITE #}
{% extends 'common_group.cpp' %}

{# Samples of a state at the end of every so many steps; backward, the loss's derivatives by them added to its costate #}
{% block maincode %}
    {% macro a(name) %}{{get_array_name(variables['_snn_' + name])}}{% endmacro %}
    const int _past = {% if backward %}{{steps}} - {{t_in_timesteps}}{% else %}{{t_in_timesteps}} + 1{% endif %};
    if (_past % {{every}} == 0)
    {
        auto* __restrict _state = {{a('state')}};
        auto* __restrict _row = {{a('samples')}} + (size_t)(_past/{{every}} - 1)*{{n}};
        for (int _i = 0; _i < {{n}}; _i++)
            {% if backward %}_state[_i] += _row[_i]{% else %}_row[_i] = _state[_i]{% endif %};
    }
{% endblock %}
