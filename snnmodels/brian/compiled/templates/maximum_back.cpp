{# USES_VARIABLES { t_in_timesteps, dt } #}
{# ALLOWS_SCALAR_WRITE #}
{% extends 'common_group.cpp' %}
{% block extra_headers %}{{headers}}{% endblock %}

{# What the loss on a maximum adds to the costates at the end of its step (start of trial: after everything else) #}
{% block maincode %}
    {% macro a(name) %}{{get_array_name(variables['_snn_' + name])}}{% endmacro %}
    const double dt = {{dt}};
    const int _left = {{steps}} - {{t_in_timesteps}};
    {% if at_start %}
    if (_left > 1) return;
    {% endif %}
    {% for p in shared %}
    const double {{p}} = {{a(p)}}[0];
    {% endfor %}
    {{jump.outer|join('\n')|autoindent}}
    for (int _i = 0; _i < {{n}}; _i++)
    {
        if ({{a('max_origin')}}[_i] != {{'0' if at_start else '_left'}}) continue;
        {% for p in arrays %}
        const double {{p}} = {{a(p)}}[_i];
        {% endfor %}
        const double max_r = {{a('max_r')}}[_i], max_error = {{a('max_error')}}[_i];
        {% for x in kept %}
        const double max_x_{{x}} = {{a('max_x_' + x)}}[_i];
        {% endfor %}
        {{jump.inner|join('\n')|autoindent}}
        {% for key, array in outputs.items() %}
        {{a(array)}}[_i] += {{jump.outputs[key]}};
        {% endfor %}
    }
{% endblock %}
