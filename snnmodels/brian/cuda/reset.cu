{# Replaces Brian2CUDA 1.0b1's template of this name. There, scalar and vector code share a scope, and a shared constant
   that both read is declared twice. #}
{# USES_VARIABLES { N } #}
{% extends 'common_group.cu' %}
{% block kernel_maincode %}
    {% set events = get_array_name(eventspace_variable) %}
    // the last element of the event space is the number of events
    if (_idx >= {{events}}[N])
        return;

    ///// scalar_code /////
    {{scalar_code|autoindent}}

    _idx = {{events}}[_idx];
    {
        ///// vector_code /////
        {{vector_code|autoindent}}
    }
{% endblock %}
